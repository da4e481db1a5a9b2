// Names that nobody else has.
import { prefer, preference } from './preferences.js';

/** @returns {string} nobody else's; also where the page is not served by https */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * This browser's name, by which the server tells annotators apart who do not sign in.
 * @param {Window} page
 * @returns {string} the same at the next visit; where the browser keeps nothing, the same until the page is left
 */
export function browserId(page = window) {
  const known = preference('client', page);
  if (known) return known;
  const made = `browser-${newId()}`;
  prefer('client', made, page);
  return made;
}
