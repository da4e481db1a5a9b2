// The structures: choose, name, colour, add.
import { edit } from './editing.js';
import { element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function structuresPart(controller) {
  const list = element('ul.slmsam2-structures');
  const onclick = () => controller.addStructure('');
  const add = element('button', { type: 'button', title: 'Add a structure', onclick }, '+ Add');
  const controls = () => [...list.querySelectorAll('button, input')];
  let drawn = '';
  let active = null;
  return {
    node: element('section.slmsam2-part', {}, element('h3', {}, 'Structures', add), list),
    update() {
      add.disabled = !controller.session;
      const { structures } = controller;
      const state = JSON.stringify(structures.map(({ value, name, color }) => [value, name, color]));
      if (state !== drawn && !list.querySelector('input:focus')) { // what is being typed must not go away
        drawn = state;
        active = null;
        const focused = controls().indexOf(document.activeElement);
        list.replaceChildren(...structures.map(each => row(controller, each)));
        controls()[focused]?.focus(); // or the keys would begin at the top of the page
      }
      const chosen = structures.find(each => each.active)?.value ?? null;
      if (chosen !== active) {
        active = chosen;
        mark(list, chosen);
      }
    },
  };
}

/** Show which structure is painted. */
function mark(list, chosen) {
  for (const node of list.children) {
    const on = Number(node.dataset.value) === chosen;
    node.classList.toggle('slmsam2-active', on);
    node.querySelector('.slmsam2-name')?.setAttribute('aria-pressed', String(on));
    if (on) reveal(list, node);
  }
}

/** Scroll the list, and nothing around it, until a row is seen. */
function reveal(list, { offsetTop, offsetHeight }) {
  const lowest = offsetTop + offsetHeight - list.clientHeight;
  list.scrollTop = Math.min(offsetTop, Math.max(lowest, list.scrollTop));
}

/** @param {import('./controller.js').Controller} controller */
function row(controller, { value, name, color }) {
  const colour = element('input', {
    type: 'color', value: hex(color), title: `Colour of ${name}`, 'aria-label': `Colour of ${name}`,
    onchange: event => {
      controller.colourStructure(value, rgba(event.target.value));
      event.target.blur();
    },
  });
  const rename = () => edit(label, 'Name of the structure', name, typed => controller.renameStructure(value, typed));
  const label = element('button.slmsam2-name', {
    type: 'button', title: `${name}\nClick to paint it (Q previous, W next), double-click to rename it`,
    onclick: () => controller.activateStructure(value), ondblclick: rename,
  }, name);
  const pencil = element('button.slmsam2-rename', {
    type: 'button', title: `Rename ${name}`, 'aria-label': `Rename ${name}`, onclick: rename,
  });
  return element('li', { 'data-value': value }, colour, label, pencil);
}

/** @param {number[]} color red, green, blue (0..255), opacity */
function hex(color) {
  return `#${color.slice(0, 3).map(part => Math.round(part).toString(16).padStart(2, '0')).join('')}`;
}

/** @param {string} text "#rrggbb" */
function rgba(text) {
  return [1, 3, 5].map(start => parseInt(text.slice(start, start + 2), 16)).concat(255);
}
