// Submit, load what was saved, next sample.
import { element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function savePart(controller) {
  const button = (action, title, text, onclick) =>
    element('button', { type: 'button', 'data-action': action, title, onclick }, text);
  const submit = button('submit', 'Save the label to the PACS as DICOM SEG', 'Submit', () => controller.submit());
  const load = button('load', 'Go on from the newest label that is saved', 'Load saved', () => controller.load());
  let warned = false;
  const next = button('next-sample', 'Open an image without a label', 'Next sample', () => {
    const anyway = warned;
    warned = !anyway && controller.unsaved;
    controller.nextSample(anyway);
  });
  submit.classList.add('slmsam2-main');
  return {
    node: element('section.slmsam2-part.slmsam2-row', {}, submit, load, next),
    update() {
      const off = !controller.session || !controller.info || Boolean(controller.propagation);
      submit.disabled = load.disabled = off;
      next.disabled = !controller.info;
    },
  };
}
