// Connection and model; who works here.
import { edit } from './editing.js';
import { element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function serverPart(controller) {
  const name = element('strong');
  const words = element('span');
  const state = element('div.slmsam2-server', { role: 'status' }, name, words);
  const who = /** @type {HTMLButtonElement} */ (element('button.slmsam2-who', {
    type: 'button', 'data-action': 'who',
    onclick: () => edit(who, 'Your name', controller.annotator, typed => controller.callMe(typed)).classList.add('slmsam2-name-field'),
  }));
  return {
    node: element('section.slmsam2-part', {}, who, state),
    update() {
      const { title, text, failed } = serverState(controller.watching);
      name.textContent = title;
      words.textContent = text;
      state.title = [title, text].join(' · ');
      state.classList.toggle('slmsam2-failed', failed);
      state.classList.toggle('slmsam2-connected', !failed && controller.watching.connected);
      who.textContent = controller.annotator || 'Your name';
      who.disabled = Boolean(controller.info?.annotator);
      who.title = who.disabled ? 'You signed in by this name'
        : 'Labels and reviews are saved under your name, and Next sample knows you by it: click to change it';
    },
  };
}

/**
 * What is said of the server.
 * @param {{info: any|null, lost: string|null}} watching `lost`: why the server's last answer is missing
 * @returns {{title: string, text: string, failed: boolean}}
 */
export function serverState({ info, lost }) {
  if (lost !== null) return { title: 'Not connected', text: lost, failed: true };
  if (!info) return { title: 'Connecting…', text: '', failed: false };
  const model = info.models?.slmsam2;
  if (!model) {
    return { title: 'No model', text: 'This server has no model slmsam2: start it with --app apps/slmsam2.', failed: true };
  }
  const { name = 'slmsam2', version, trained } = model.network ?? {};
  if (version === '') {
    const text = 'Its weights are missing or damaged. Put them into the server\'s model folder '
      + '(scripts/download_checkpoints.py), then propagate.';
    return { title: name, text, failed: true };
  }
  return { title: name, text: [version, trained].filter(Boolean).join(' · '), failed: false };
}
