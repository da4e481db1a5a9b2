// The panel: its parts, one below the other, drawn anew whenever the controller says so.
import { element } from './element.js';
import { messagePart } from './part-message.js';
import { propagatePart } from './part-propagate.js';
import { reviewPart } from './part-review.js';
import { savePart } from './part-save.js';
import { serverPart } from './part-server.js';
import { slicesPart } from './part-slices.js';
import { structuresPart } from './part-structures.js';
import { toolsPart } from './part-tools.js';
import { trainPart } from './part-train.js';
import { running } from './running.js';
import { addStyle } from './style.js';

/**
 * @typedef {{node: HTMLElement, update: () => void, stop?: () => void}} Part
 * @typedef {(controller: import('./controller.js').Controller) => Part} MakePart
 */

/** @type {MakePart[]} */
const PARTS = [serverPart, structuresPart, toolsPart, propagatePart, messagePart, slicesPart, reviewPart, savePart, trainPart];

/**
 * @param {HTMLElement} host
 * @returns {() => void} takes it away
 */
export function mountPanel(host) {
  addStyle();
  let unmount = () => {};
  const show = () => {
    unmount();
    const { controller, missing } = running.state;
    host.replaceChildren();
    if (missing) host.append(element('p.slmsam2-failed.slmsam2-unsupported', { role: 'alert' }, missing));
    unmount = controller ? mountParts(host, controller) : () => {};
  };
  running.addEventListener('change', show);
  show();
  return () => {
    running.removeEventListener('change', show);
    unmount();
  };
}

/** @param {import('./controller.js').Controller} controller */
function mountParts(host, controller) {
  const parts = PARTS.map(make => make(controller));
  const update = () => parts.forEach(part => part.update());
  host.append(element('div.slmsam2', {}, ...parts.map(part => part.node)));
  controller.addEventListener('change', update);
  update();
  return () => {
    controller.removeEventListener('change', update);
    parts.forEach(part => part.stop?.());
  };
}
