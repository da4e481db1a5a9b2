// Connection and model.
import { element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function serverPart(controller) {
  const name = element('strong');
  const words = element('span');
  const node = element('section.slmsam2-part.slmsam2-server', { role: 'status' }, name, words);
  return {
    node,
    update() {
      const { title, text, failed } = serverState(controller.watching);
      name.textContent = title;
      words.textContent = text;
      node.title = [title, text].join(' · ');
      node.classList.toggle('slmsam2-failed', failed);
      node.classList.toggle('slmsam2-connected', !failed && controller.watching.connected);
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
