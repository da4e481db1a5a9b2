// Bringing a propagation's result into the label map, without overwriting anything the user made; and taking it back.
import { valuesAt } from './touched.js';

/**
 * @typedef {import('./touched.js').Dims} Dims
 * @typedef {import('./touched.js').Axis} Axis
 * @typedef {object} Wanted what was asked for
 * @property {Axis} axis slices count along it
 * @property {Map<number, [number, number]>} ranges structure's value -> first and last slice that may change
 * @typedef {object} Change
 * @property {Uint32Array} voxels
 * @property {Uint8Array} before
 * @property {Uint8Array} after
 */

/**
 * The label map to send: the structures on the slices that are to be their prompts, and those not asked for whole, which
 * tell what structures like them look like.
 * @param {Uint8Array} labels
 * @param {Dims} dims
 * @param {Map<number, number[][]>} planes structure's value -> slices along each axis
 * @returns {Uint8Array}
 */
export function promptLabels(labels, dims, planes) {
  const taken = new Map([...planes].map(([value, slices]) => [value, slices.map(each => new Set(each))]));
  const result = new Uint8Array(labels.length);
  forEachVoxel(dims, (voxel, ijk) => {
    const value = labels[voxel];
    if (taken.get(value)?.some((slices, axis) => slices.has(ijk[axis])) ?? true) result[voxel] = value;
  });
  return result;
}

/**
 * Compare the label map with a result. Structures that were not asked for stay; so do the slices that the user painted
 * or changed, each for the structure it was done to, and the slices outside the range.
 * @param {Uint8Array} labels
 * @param {Uint8Array} result same values
 * @param {Dims} dims
 * @param {Wanted} wanted
 * @param {import('./touched.js').Touched} touched
 * @returns {Change}
 */
export function merge(labels, result, dims, { axis, ranges }, touched) {
  const kept = new Map([...ranges.keys()].map(value => [value, touched.flags(value, dims)]));
  const mayChange = (value, ijk) => {
    const range = ranges.get(value);
    if (!range || ijk[axis] < range[0] || ijk[axis] > range[1]) return false;
    return !kept.get(value).some((flags, along) => flags[ijk[along]]);
  };
  const voxels = [], before = [], after = [];
  forEachVoxel(dims, (voxel, ijk) => {
    const old = labels[voxel], found = result[voxel];
    if (old === found || (old && !mayChange(old, ijk))) return;
    const next = found && mayChange(found, ijk) ? found : 0;
    if (next === old) return;
    voxels.push(voxel);
    before.push(old);
    after.push(next);
  });
  return { voxels: Uint32Array.from(voxels), before: Uint8Array.from(before), after: Uint8Array.from(after) };
}

/**
 * @param {Uint8Array} labels
 * @param {Change} change
 * @returns {Uint8Array} a new label map
 */
export function applied(labels, change) {
  const result = labels.slice();
  change.voxels.forEach((voxel, n) => { result[voxel] = change.after[n]; });
  return result;
}

/**
 * Take a change back. Voxels that the user has changed since then stay.
 * @param {Uint8Array} labels
 * @param {Change} change
 * @returns {Uint8Array} a new label map
 */
export function reverted(labels, change) {
  const result = labels.slice();
  change.voxels.forEach((voxel, n) => {
    if (labels[voxel] === change.after[n]) result[voxel] = change.before[n];
  });
  return result;
}

/**
 * @param {Change} first
 * @param {Change} second made after it
 * @returns {Change} both
 */
export function joined(first, second) {
  const states = new Map(Array.from(first.voxels, (voxel, n) => [voxel, [first.before[n], first.after[n]]]));
  second.voxels.forEach((voxel, n) => {
    states.set(voxel, [states.get(voxel)?.[0] ?? second.before[n], second.after[n]]);
  });
  const values = [...states.values()];
  return {
    voxels: Uint32Array.from(states.keys()),
    before: Uint8Array.from(values, ([before]) => before),
    after: Uint8Array.from(values, ([, after]) => after),
  };
}

/**
 * @param {Change} change
 * @param {number[]} gone values of structures
 * @returns {Change} as if these had never been there
 */
export function without({ voxels, before, after }, gone) {
  const own = Uint8Array.from({ length: 256 }, (_, value) => (gone.includes(value) ? 0 : value));
  const [old, now] = [before, after].map(values => values.map(value => own[value]));
  const left = Array.from(voxels.keys()).filter(n => old[n] !== now[n]);
  return { voxels: Uint32Array.from(left, n => voxels[n]), before: valuesAt(old, left), after: valuesAt(now, left) };
}

/**
 * @param {Dims} dims
 * @param {(voxel: number, ijk: [number, number, number]) => void} visit the same array each time
 */
function forEachVoxel([columns, rows, slices], visit) {
  /** @type {[number, number, number]} */
  const ijk = [0, 0, 0];
  let voxel = 0;
  for (ijk[2] = 0; ijk[2] < slices; ijk[2]++) {
    for (ijk[1] = 0; ijk[1] < rows; ijk[1]++) {
      for (ijk[0] = 0; ijk[0] < columns; ijk[0]++) visit(voxel++, ijk);
    }
  }
}
