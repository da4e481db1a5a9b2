// Submit, load what was saved, next sample.
import { actionButton, element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function savePart(controller) {
  const submit = actionButton('submit', 'Save the label in the PACS, as DICOM SEG', 'Submit', () => controller.saving.submit());
  const load = actionButton('load', 'Go on from the newest label that is saved for this series', 'Load saved',
    () => controller.saving.load());
  const next = actionButton('next-sample', 'Open a series that has no label yet, or one of yours that a reviewer has flagged',
    'Next sample', () => controller.saving.nextSample());
  submit.classList.add('slmsam2-main');
  return {
    node: element('section.slmsam2-part.slmsam2-row.slmsam2-even', {}, submit, load, next),
    update() {
      submit.disabled = load.disabled = !controller.canSave;
      next.disabled = !controller.watching.connected || controller.saving.busy;
    },
  };
}
