// Connection and model.
import { element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function serverPart(controller) {
  const node = element('div.slmsam2-part.slmsam2-server', { role: 'status' });
  return {
    node,
    update() {
      const { info } = controller;
      node.classList.toggle('slmsam2-failed', !info);
      node.textContent = info ? modelText(info.models?.slmsam2) : 'Not connected to the server.';
    },
  };
}

/** @param {any} model of /info/ */
function modelText(model) {
  if (!model) return 'This server has no model slmsam2.';
  const { name, version, trained } = model.network ?? {};
  return [name ?? 'slmsam2', version, trained].filter(Boolean).join(' · ');
}
