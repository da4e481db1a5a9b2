// The structures: choose, name, colour, add.
import { element } from './element.js';

/** @type {import('./panel.js').MakePart} */
export function structuresPart(controller) {
  const list = element('ul.slmsam2-structures');
  const onclick = () => controller.addStructure('');
  const add = element('button', { type: 'button', title: 'Add a structure', onclick }, '+ Add');
  let drawn = '';
  return {
    node: element('section.slmsam2-part', {}, element('h3', {}, 'Structures', add), list),
    update() {
      add.disabled = !controller.session;
      const { structures } = controller;
      const state = JSON.stringify(structures);
      if (state === drawn || list.contains(document.activeElement)) return;
      drawn = state;
      list.replaceChildren(...structures.map(each => row(controller, each)));
    },
  };
}

/** @param {import('./controller.js').Controller} controller */
function row(controller, { value, name, active, color }) {
  const colour = element('input', {
    type: 'color', value: hex(color), title: `Colour of ${name}`,
    onchange: event => {
      controller.colourStructure(value, rgba(event.target.value));
      event.target.blur();
    },
  });
  const label = element('input', {
    type: 'text', value: name, title: 'Click to choose, type to rename', 'aria-label': 'Name',
    onfocus: () => controller.activateStructure(value),
    onchange: event => {
      event.target.blur();
      controller.renameStructure(value, event.target.value.trim() || name);
    },
    onkeydown: event => {
      event.stopPropagation(); // OHIF's own shortcuts
      if (event.key === 'Enter') event.target.blur();
    },
    onblur: () => setTimeout(() => controller.dispatchEvent(new Event('change'))),
  });
  return element(`li${active ? '.slmsam2-active' : ''}`, { 'data-value': value }, colour, label);
}

/** @param {number[]} color red, green, blue (0..255), opacity */
function hex(color) {
  return `#${color.slice(0, 3).map(part => Math.round(part).toString(16).padStart(2, '0')).join('')}`;
}

/** @param {string} text "#rrggbb" */
function rgba(text) {
  return [1, 3, 5].map(start => parseInt(text.slice(start, start + 2), 16)).concat(255);
}
