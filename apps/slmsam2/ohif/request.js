// What to ask the server for: from the user's choices to the request's parameters.

/**
 * @typedef {import('./touched.js').Axis} Axis
 * @typedef {{value: number, name: string}} Structure
 * @typedef {(value: number, axis: Axis, slice: number) => boolean} IsOn whether a structure is on a slice
 * @typedef {'both'|'forward'|'backward'} Direction
 * @typedef {object} Choice
 * @property {Structure[]} structures to propagate
 * @property {Structure[]} named all there are
 * @property {Direction} direction forward: towards higher slice numbers
 * @property {number|null} limit the last slice to go to; null: as far as the structure goes
 * @property {Axis|null} [along] the axis that was propagated along before
 * @typedef {object} Plan
 * @property {Axis} axis
 * @property {Map<number, number[][]>} planes structure's value -> slices painted or changed by the user, along each axis
 * @property {Map<number, [number, number]>} ranges structure's value -> slices that may change
 * @property {Structure[]} structures those with prompts
 * @property {Structure[]} leftOut those that are painted in other planes only
 * @property {Record<string, unknown>} params of the request
 */

const AXES = /** @type {Axis[]} */ ([0, 1, 2]);
const SERIES = 2; // the axis of the series' own slices

/**
 * @param {Choice} choice
 * @param {import('./touched.js').Touched} touched
 * @param {import('./touched.js').Dims} dims
 * @param {IsOn} [isOn]
 * @returns {Plan}
 * @throws {Error} with a sentence for the user: nothing is painted, or the limit does not fit
 */
export function plan({ structures, named, direction, limit, along = null }, touched, dims, isOn = () => true) {
  const painted = structures.filter(({ value }) => touched.lastAxis.has(value));
  if (painted.length === 0) throw nothingPainted(structures);
  const axis = mainAxis(painted.map(({ value }) => value), touched, along, isOn);
  const asked = painted.filter(({ value }) => touched.slices(value, axis).length > 0);
  const leftOut = painted.filter(each => !asked.includes(each));
  const planes = new Map(asked.map(({ value }) => [value, AXES.map(each => touched.slices(value, each))]));
  const all = asked.flatMap(({ value }) => planes.get(value)[axis]);
  const [first, last] = bounds(direction, limit, Math.min(...all), Math.max(...all), dims[axis]);
  const ranges = new Map(asked.map(({ value }) => {
    const own = planes.get(value)[axis];
    return [value, /** @type {[number, number]} */ ([
      direction === 'forward' ? Math.min(...own) : first,
      direction === 'backward' ? Math.max(...own) : last,
    ])];
  }));
  const params = {
    label_info: named.map(({ name, value }) => ({ name, id: value })),
    structures: asked.map(({ name }) => name),
    prompt_slices: Object.fromEntries(asked.map(({ name, value }) => [name, byAxis(planes.get(value))])),
    axis: String(axis),
    direction,
    first_slice: first,
    last_slice: last,
  };
  return { axis, planes, ranges, structures: asked, leftOut, params };
}

/**
 * The axis to go along: one along which as many structures as can be have slices that they are on; of such ones that of
 * the propagation before, else the series' own if all have some, else the one painted along last.
 * @param {number[]} values of structures
 * @param {import('./touched.js').Touched} touched
 * @param {Axis|null} before
 * @param {IsOn} [isOn]
 * @returns {Axis}
 */
export function mainAxis(values, touched, before, isOn = () => true) {
  const isGiven = (value, axis) => touched.slices(value, axis).some(slice => isOn(value, axis, slice));
  const counts = AXES.map(axis => values.filter(value => isGiven(value, axis)).length);
  const best = AXES.filter(axis => counts[axis] === Math.max(...counts));
  const own = counts[SERIES] === values.length ? SERIES : null;
  return [before, own, touched.lastAxis.get(values.at(-1)), ...best].find(axis => best.includes(axis));
}

/** @param {number[][]} slices along each axis @returns {Record<number, number[]>} axis -> slices, where there are any */
function byAxis(slices) {
  return Object.fromEntries(AXES.filter(axis => slices[axis].length > 0).map(axis => [axis, slices[axis]]));
}

/** @param {Structure[]} structures */
export function nothingPainted(structures) {
  const names = structures.map(({ name }) => name).join(', ');
  return new Error(`Paint ${names} on one slice first, or correct a slice. Then press Propagate.`);
}

/** First and last slice to visit; the painted ones (lowest, highest) are always among them. */
function bounds(direction, limit, lowest, highest, size) {
  if (limit === null) return [0, size - 1];
  if (limit < 0 || limit >= size) throw new Error(`There is no slice ${limit}: slices are 0 to ${size - 1}.`);
  if (direction !== 'forward' && limit <= lowest) return [limit, direction === 'both' ? size - 1 : highest];
  if (direction !== 'backward' && limit >= highest) return [direction === 'both' ? 0 : lowest, limit];
  throw new Error(`Slice ${limit} does not lie ahead of what is painted (slices ${lowest} to ${highest}).`);
}
