// What happened, or what went wrong, in the server's own words; before anything has happened, what to do first.
import { element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function messagePart(controller) {
  const node = element('p.slmsam2-message', { role: 'status', 'aria-live': 'polite' });
  return {
    node,
    update() {
      const { text, failed } = controller.message;
      const shown = text || hint(controller);
      if (node.textContent !== shown) node.textContent = shown; // or screen readers say it again
      node.classList.toggle('slmsam2-failed', failed);
      node.classList.toggle('slmsam2-hint', !text);
    },
  };
}

/** @param {import('./controller.js').Controller} controller */
export function hint({ session, propagation, following }) {
  if (!session && following.waiting) return 'Connecting…';
  if (!session) return 'Open a series of images in a viewport to begin.';
  if (propagation || session.given.byValue.size > 0) return '';
  return 'Paint a structure on one slice, then propagate.';
}
