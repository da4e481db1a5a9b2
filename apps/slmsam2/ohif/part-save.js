// Submit, load what was saved, next sample.
import { actionButton, element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function savePart(controller) {
  const submit = actionButton('submit', 'Save the label to the PACS as DICOM SEG', 'Submit', () => controller.submit());
  const load = actionButton('load', 'Go on from the newest label that is saved', 'Load saved', () => controller.load());
  let warned = false;
  const next = actionButton('next-sample', 'Open an image without a label', 'Next sample', () => {
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
