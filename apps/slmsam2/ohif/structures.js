// The structures of a label map: which there are to begin with, and what their names must be.

const NO_STRUCTURE = 'Add a structure first.';

/** @typedef {{value: number, name: string, locked?: boolean}} Structure */

/**
 * Those of a new segmentation: the ones the server knows, or one to begin with.
 * @param {any} info the server's /info/; null: there was none yet
 * @returns {Structure[]}
 */
export function firstStructures(info) {
  const labels = info?.labels ?? [];
  const names = Array.isArray(labels) ? labels : Object.keys(labels);
  return (names.length ? names : ['Structure 1']).map((name, n) => ({ name, value: n + 1 }));
}

/**
 * @param {Structure[]} structures
 * @returns {number} the value of the next one
 * @throws {Error} with a sentence for the user: there is none left
 */
export function nextValue(structures) {
  const value = Math.max(0, ...structures.map(each => each.value)) + 1;
  if (value > 254) throw new Error('There are 254 structures: that is as many as a label map holds.');
  return value;
}

/**
 * @param {Structure[]} structures
 * @param {string} name
 * @param {number} [value] of the structure that is to have it; none: a new one
 * @throws {Error} with a sentence for the user: another structure has this name
 */
export function checkName(structures, name, value) {
  const other = structures.find(each => each.name === name && each.value !== value);
  if (other) throw new Error(`There is a structure '${name}' already. Choose another name.`);
}

/**
 * @param {Structure[]} structures
 * @throws {Error} with a sentence for the user: there are none, or two have one name, as OHIF's own menu allows
 */
export function checkStructures(structures) {
  const names = structures.map(each => each.name);
  if (names.length === 0) throw new Error(NO_STRUCTURE);
  const twice = names.find((name, n) => names.indexOf(name) !== n);
  if (twice !== undefined) throw new Error(`Two structures are called '${twice}'. Rename one of them first.`);
}

/**
 * @param {Structure[]} structures
 * @returns {Structure[]} those that may be changed
 * @throws {Error} with a sentence for the user: there are none
 */
export function unlocked(structures) {
  if (structures.length === 0) throw new Error(NO_STRUCTURE);
  const left = structures.filter(each => !each.locked);
  if (left.length > 0) return left;
  const names = structures.map(each => each.name).join(', ');
  throw new Error(`Locked in OHIF's segmentation tab: ${names}. Unlock it there first.`);
}
