// Train, with its progress and the score so far.
import { element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function trainPart(controller) {
  const bar = element('progress', { max: 1 });
  const text = element('p.slmsam2-words', { 'data-role': 'training' });
  const train = element('button', {
    type: 'button', 'data-action': 'train',
    onclick: () => (controller.watching.training.running ? controller.stopTraining() : controller.train()),
  });
  return {
    node: element('section.slmsam2-part', {}, element('div.slmsam2-row', {}, train, bar), text),
    update() {
      const { trainer, running, done, text: words } = controller.watching.training;
      train.textContent = running ? 'Stop training' : 'Train';
      train.title = running ? 'End the training; the model in use stays' : 'Learn from all submitted labels';
      train.disabled = trainer === null || !controller.watching.connected || controller.ordering;
      bar.hidden = !running;
      bar.value = done;
      text.textContent = controller.info ? words : '';
    },
  };
}
