// The confidence of each slice as a strip; the next slice to check.
import { confidenceColour } from './confidence.js';
import { actionButton, element } from './element.js';
import { standing, standingInShort } from './sentences.js';

const HEIGHT = 48;
const PAINTED = '#5acce6';
const CURRENT = '#ffffff';
const FOLLOW = 250; // ms between looks at the slice on the screen
const TITLE = 'How sure the server is of each slice; blue: painted, changed, confirmed or loaded by you. Click to go there; '
  + 'the arrow keys go on from there.';

/** @type {import('./panel.js').MakePart} */
export function slicesPart(controller) {
  const canvas = element('canvas.slmsam2-strip', {
    title: TITLE, 'data-role': 'strip', tabIndex: 0, role: 'slider', 'aria-label': 'Slices', 'aria-valuemin': 0,
    onmousemove: event => { event.currentTarget.title = titleAt(controller, event); },
    onclick: event => { if (controller.session) controller.showSlice(sliceAt(controller.session, event)); },
    onkeydown: event => step(controller, event),
  });
  const text = element('span.slmsam2-standing');
  const next = actionButton('next', 'Go to the slice that you have not looked at where a correction should help most (N)',
    'Next slice to check', () => controller.nextToCheck());
  const right = actionButton('confirm', '', 'Slice is right',
    ({ detail }) => { if (detail < 2) controller.confirmSlice(); }); // of a double click, the first
  const update = () => {
    next.disabled = !controller.canCheck;
    const { toConfirm } = controller;
    right.disabled = toConfirm.length === 0;
    right.title = `${toConfirm.join(', ') || 'What was found'} on this slice is right: it counts as yours, as if you had painted it; `
      + 'on to the next (Y)';
    draw(controller, canvas, text);
  };
  const follow = setInterval(update, FOLLOW);
  return {
    node: element('section.slmsam2-part', {}, element('h3', {}, 'Slices', text), canvas,
      element('div.slmsam2-row.slmsam2-even', {}, next, right)),
    update,
    stop: () => clearInterval(follow),
  };
}

/**
 * @param {import('./session.js').Session} session
 * @param {MouseEvent} event
 */
function sliceAt(session, event) {
  const box = event.currentTarget.getBoundingClientRect();
  const count = session.labelmap.dims[session.axis];
  return Math.min(count - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * count)));
}

/** The arrow keys go from slice to slice. */
function step(controller, event) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const { session, currentSlice } = controller;
  if (!by || !session || currentSlice === null) return;
  event.preventDefault();
  event.stopPropagation();
  const last = session.labelmap.dims[session.axis] - 1;
  controller.showSlice(Math.min(last, Math.max(0, currentSlice + by)));
}

/** What the tooltip says with the mouse over a slice. */
function titleAt(controller, event) {
  if (!controller.session) return TITLE;
  return `${inWords(controller, sliceAt(controller.session, event))}\n${TITLE}`;
}

/** A slice and all that is known of it: "Slice 63: liver 54 % sure, spleen yours". */
function inWords(controller, slice) {
  return [`Slice ${slice}`, standing(controller.standingAt(slice))].filter(Boolean).join(': ');
}

/** Screen readers tell the slice that is shown, and how sure the server is of each structure on it. */
function tell(controller, canvas, current) {
  const told = {
    max: controller.session.labelmap.dims[controller.session.axis] - 1, now: current, text: inWords(controller, current),
  };
  for (const [name, value] of Object.entries(told)) {
    const attribute = `aria-value${name}`;
    if (canvas.getAttribute(attribute) !== String(value)) canvas.setAttribute(attribute, value); // or it is said again
  }
}

/** @param {HTMLCanvasElement} canvas */
function draw(controller, canvas, text) {
  const { session } = controller;
  const scale = window.devicePixelRatio || 1;
  const length = canvas.clientWidth || 1;
  Object.assign(canvas, { width: Math.round(length * scale), height: Math.round(HEIGHT * scale) }); // and empties it
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  text.textContent = '';
  if (!session) return;
  const count = session.labelmap.dims[session.axis];
  const width = length / count;
  const bar = (slice, colour, height) => {
    context.fillStyle = colour;
    context.fillRect(slice * width, HEIGHT - height, Math.max(1, width), height);
  };
  const known = controller.confidences;
  for (const { slice, confidence } of known) bar(slice, confidenceColour(confidence), 4 + (HEIGHT - 4) * confidence);
  for (const slice of session.givenSlices()) bar(slice, PAINTED, HEIGHT);
  const current = controller.currentSlice;
  if (current === null) return;
  context.strokeStyle = CURRENT;
  context.strokeRect(current * width, 0.5, Math.max(2, width), HEIGHT - 1);
  const words = standingInShort(controller.standingAt(current), controller.structures.length > 1);
  text.textContent = words ? `${current} · ${words}` : String(current);
  tell(controller, canvas, current);
}
