// Names that nobody else has.

const KEY = 'slmsam2-client';

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
  const made = `browser-${newId()}`;
  try {
    const known = page.localStorage.getItem(KEY);
    if (known) return known;
    page.localStorage.setItem(KEY, made);
  } catch (error) {
    console.warn('This browser keeps nothing for this page.', error);
  }
  return made;
}
