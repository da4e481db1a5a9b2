// Propagate, with progress and cancel; undo.
import { actionButton, element } from './element.js';
import { howFar } from './sentences.js';

/** what the button says, by what it would take back */
const UNDO = {
  painting: 'Undo painting',
  propagation: 'Undo propagation',
  loading: 'Undo loading',
  'drawing by points': 'Undo points',
  confirmation: 'Undo “right”',
  'restored work': 'Undo restoring',
};

const BY_ITSELF = 'When you have corrected a structure that was propagated, it is propagated again as soon as you pause. '
  + 'For new ones press Propagate.';

/** @type {import('./panel.js').MakePart} */
export function propagatePart(controller) {
  const scope = menu('What to propagate', { all: 'All', active: 'Active only' });
  const direction = menu('Which way', { both: 'Both ways', forward: 'Forward', backward: 'Backward' });
  const limit = element('input.slmsam2-number', {
    type: 'number', min: 0, placeholder: 'the end', title: 'The last slice to go to, counted from 0 as in the strip below',
    onkeydown: event => event.stopPropagation(),
  });
  const byItself = element('input', { type: 'checkbox', onkeydown: event => event.stopPropagation() });
  const choose = () => controller.choose({
    scope: scope.value,
    direction: direction.value,
    limit: limit.value === '' ? null : Math.round(Number(limit.value)),
    byItself: byItself.checked,
  });
  [scope, direction, limit, byItself].forEach(input => input.addEventListener('change', choose));
  let drawn = null;
  const showChoice = () => { // from before the panel was away, or for another series
    if (controller.choice === drawn) return;
    drawn = controller.choice;
    scope.value = drawn.scope;
    direction.value = drawn.direction;
    limit.value = drawn.limit ?? '';
    byItself.checked = drawn.byItself;
  };
  const go = actionButton('propagate', 'Find the structure on the other slices (P)', 'Propagate', () => controller.propagate());
  const undo = actionButton('undo', 'Take back what was done last (U, or Ctrl+Z)', 'Undo', () => controller.undo());
  const redo = actionButton('redo', 'Do again what was taken back (Shift+U, or Ctrl+Shift+Z)', 'Redo',
    () => controller.redo());
  go.classList.add('slmsam2-main');
  const bar = element('progress');
  const words = element('span', { 'data-role': 'progress' });
  const cancel = actionButton('cancel', 'End this propagation; nothing changes', 'Cancel', () => controller.cancel());
  const resting = [element('div.slmsam2-row', {}, go), element('div.slmsam2-row', {}, undo, redo)];
  const running = element('div.slmsam2-row', {}, bar, words, cancel);
  return {
    node: element('section.slmsam2-part', {},
      element('div.slmsam2-row.slmsam2-even', {}, scope, direction), element('label.slmsam2-row', {}, 'Up to slice', limit),
      element('label.slmsam2-row', { title: BY_ITSELF }, byItself, 'Auto-propagate corrections'), ...resting, running),
    update() {
      showChoice();
      const busy = Boolean(controller.propagation);
      const { done, total } = controller.progress;
      go.disabled = !controller.canPropagate;
      undo.disabled = !controller.canUndo;
      undo.textContent = UNDO[controller.undoes] ?? 'Undo';
      redo.disabled = !controller.canRedo;
      for (const row of resting) row.hidden = busy;
      running.hidden = !busy;
      if (total) Object.assign(bar, { max: total, value: done });
      else bar.removeAttribute('value');
      words.textContent = howFar(controller.progress);
    },
  };
}

/**
 * A menu; chosen from by the mouse, it hands the keys back to the panel.
 * @param {Record<string, string>} options value -> text
 */
export function menu(title, options) {
  const nodes = Object.entries(options).map(([value, text]) => element('option', { value }, text));
  const onchange = ({ target }) => { if (!target.matches(':focus-visible')) target.blur(); };
  return element('select', { title, onchange, onkeydown: event => event.stopPropagation() }, ...nodes);
}
