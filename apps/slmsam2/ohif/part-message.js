// What happened, or what went wrong, in the server's own words.
import { element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function messagePart(controller) {
  const node = element('p.slmsam2-message', { role: 'status', 'aria-live': 'polite' });
  return {
    node,
    update() {
      const { text, failed } = controller.message;
      node.textContent = text;
      node.hidden = !text;
      node.classList.toggle('slmsam2-failed', failed);
    },
  };
}
