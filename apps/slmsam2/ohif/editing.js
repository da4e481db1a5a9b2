// Names that are edited where they stand.
import { element } from './element.js';

/**
 * Put a text field in the place of a name: Enter keeps what is typed, Escape does not.
 * @param {HTMLElement} label
 * @param {string} title of the field, for screen readers
 * @param {string} name as it is
 * @param {(typed: string) => void} changed called with another name, which is not empty
 * @returns {HTMLElement} the field
 */
export function edit(label, title, name, changed) {
  const field = element('input', {
    type: 'text', value: name, 'aria-label': title,
    onkeydown: event => {
      event.stopPropagation(); // OHIF's own shortcuts
      if (event.key === 'Escape') event.target.value = name;
      if (!['Enter', 'Escape'].includes(event.key)) return;
      event.preventDefault(); // no press of the button that is there then
      field.blur();
      label.focus();
    },
    onblur: event => {
      const typed = event.target.value.trim();
      field.replaceWith(label);
      if (typed && typed !== name) changed(typed);
    },
  });
  label.replaceWith(field);
  field.focus();
  field.select();
  return field;
}
