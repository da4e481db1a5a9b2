// What this browser keeps for the panel from page to page.

const PREFIX = 'slmsam2-';

/**
 * @param {string} name
 * @param {Window} [page]
 * @returns {string|null} null: nothing is kept, or this browser keeps nothing
 */
export function preference(name, page = window) {
  try {
    return page.localStorage.getItem(PREFIX + name);
  } catch (error) {
    console.warn('This browser keeps nothing for this page.', error);
    return null;
  }
}

/**
 * @param {string} name
 * @param {string} value
 * @param {Window} [page]
 */
export function prefer(name, value, page = window) {
  try {
    page.localStorage.setItem(PREFIX + name, value);
  } catch (error) {
    console.warn('This browser keeps nothing for this page.', error);
  }
}
