// Which slices the user painted or changed by hand, or loaded. Slices that a propagation filled do not count.

/**
 * @typedef {[number, number, number]} Dims voxels along i (columns), j (rows), k (slices); arrays run i fastest
 * @typedef {0|1|2} Axis
 * @typedef {{axis: Axis, slices: Map<number, Set<number>>}} Difference value -> slices along the axis
 */

const PART = 65536; // voxels that are compared at once
const SERIES = 2; // the axis of the series' own slices
/** @type {Axis[]} */
const AXES = [0, 1, 2];

export class Touched {
  constructor() {
    /** @type {Map<number, [Set<number>, Set<number>, Set<number>]>} */
    this.byValue = new Map();
    /** @type {Map<number, Axis>} the axis a structure was painted along last */
    this.lastAxis = new Map();
  }

  /** @param {Difference} difference */
  add({ axis, slices }) {
    for (const [value, indices] of slices) {
      if (!this.byValue.has(value)) this.byValue.set(value, [new Set(), new Set(), new Set()]);
      for (const index of indices) this.byValue.get(value)[axis].add(index);
      this.lastAxis.set(value, axis);
    }
  }

  /**
   * @param {Difference} difference
   * @returns {Touched} this and that
   */
  with(difference) {
    const both = new Touched();
    both.join(this);
    both.add(difference);
    return both;
  }

  /** @param {Touched} other what was painted after this */
  join(other) {
    for (const [value, axes] of other.byValue) {
      const last = other.lastAxis.get(value);
      for (const axis of AXES) this.add({ axis, slices: new Map([[value, axes[axis]]]) });
      this.lastAxis.set(value, last);
    }
  }

  /**
   * @param {number} value
   * @param {Axis} axis
   * @returns {number[]} ascending
   */
  slices(value, axis) {
    return [...(this.byValue.get(value)?.[axis] ?? [])].sort((a, b) => a - b);
  }

  /** @param {number} value whose structure is no longer there */
  forget(value) {
    this.byValue.delete(value);
    this.lastAxis.delete(value);
  }

  /**
   * @param {number} value
   * @param {Axis} axis
   * @param {number} slice
   */
  has(value, axis, slice) {
    return this.byValue.get(value)?.[axis].has(slice) ?? false;
  }

  /**
   * For looking up many voxels: one flag per slice.
   * @param {number} value
   * @param {Dims} dims
   * @returns {Uint8Array[]} one array per axis
   */
  flags(value, dims) {
    return dims.map((size, axis) => {
      const flags = new Uint8Array(size);
      for (const index of this.slices(value, /** @type {Axis} */ (axis))) flags[index] = 1;
      return flags;
    });
  }
}

/**
 * What changed between two states of a label map, and on which slices.
 *
 * A stroke of a round brush stays on one slice of the plane it was painted in: that tells the axis, or, where it is thin
 * along several, the plane does. What spreads over all three (a ball-shaped brush) counts along the slices of the series;
 * what was painted in a plane that lies askew, and so crosses several slices, on none.
 * @param {Uint8Array} before
 * @param {Uint8Array} after
 * @param {Dims} dims
 * @param {import('./shown.js').Plane|null} [plane] that it was painted in; null: not known
 * @returns {(Difference & {change: import('./merge.js').Change})|null} null: nothing changed
 */
export function difference(before, after, dims, plane = null) {
  const changed = changedVoxels(before, after);
  if (changed.length === 0) return null;
  const thin = thinAxes(changed, dims);
  const axis = [plane?.axis ?? SERIES, SERIES, ...AXES].find(each => thin[each]) ?? SERIES;
  const crosses = plane?.isTurned && !thin[plane.axis];
  const stride = strides(dims)[axis];
  /** @type {Map<number, Set<number>>} */
  const slices = new Map();
  for (const voxel of crosses ? [] : changed) {
    const index = Math.floor(voxel / stride) % dims[axis];
    for (const value of [before[voxel], after[voxel]]) {
      if (value === 0) continue;
      if (!slices.has(value)) slices.set(value, new Set());
      slices.get(value).add(index);
    }
  }
  const voxels = Uint32Array.from(changed);
  return { axis, slices, change: { voxels, before: valuesAt(before, voxels), after: valuesAt(after, voxels) } };
}

/**
 * @param {Uint8Array} labels
 * @param {Dims} dims
 * @returns {Touched} as if each structure had been painted on all slices of the series on which it is
 */
export function filled(labels, dims) {
  const touched = new Touched();
  const size = dims[0] * dims[1];
  for (let k = 0; k < dims[2]; k++) {
    const values = valuesIn(labels.subarray(k * size, (k + 1) * size));
    values.delete(0);
    touched.add({ axis: 2, slices: new Map([...values].map(value => [value, new Set([k])])) });
  }
  return touched;
}

/**
 * @param {Uint8Array} before
 * @param {Uint8Array} after
 * @returns {number[]} indices into the arrays, ascending
 */
export function changedVoxels(before, after) {
  const changed = [];
  for (let start = 0; start < after.length; start += PART) {
    const [old, now] = [before, after].map(labels => labels.subarray(start, start + PART));
    if (equal(old, now)) continue;
    for (let n = 0; n < now.length; n++) if (old[n] !== now[n]) changed.push(start + n);
  }
  return changed;
}

/**
 * Whether two arrays of one length hold the same; compared four bytes at a time where they lie so that this is possible.
 * @param {Uint8Array} one
 * @param {Uint8Array|Uint16Array} other
 */
export function equal(one, other) {
  const together = one.byteLength === other.byteLength && isWhole(one) && isWhole(other);
  const [a, b] = together ? [words(one), words(other)] : [one, other];
  for (let n = 0; n < a.length; n++) if (a[n] !== b[n]) return false;
  return true;
}

const isWhole = ({ byteOffset, byteLength }) => byteOffset % 4 === 0 && byteLength % 4 === 0;
const words = ({ buffer, byteOffset, byteLength }) => new Uint32Array(buffer, byteOffset, byteLength / 4);

/** @returns {boolean[]} along which axes all changes lie on one slice */
function thinAxes(changed, dims) {
  const steps = strides(dims);
  return dims.map((size, axis) => {
    const along = voxel => Math.floor(voxel / steps[axis]) % size;
    const first = along(changed[0]);
    return changed.every(voxel => along(voxel) === first);
  });
}

/**
 * @param {Dims} dims
 * @param {Axis} axis
 * @param {number} slice along the axis
 * @returns {Uint32Array} the slice's voxels, as ascending indices into an array
 */
export function sliceVoxels(dims, axis, slice) {
  const steps = strides(dims);
  const [inner, outer] = [0, 1, 2].filter(each => each !== axis);
  const voxels = new Uint32Array(dims[inner] * dims[outer]);
  let n = 0;
  for (let row = 0; row < dims[outer]; row++) {
    const start = slice * steps[axis] + row * steps[outer];
    for (let column = 0; column < dims[inner]; column++) voxels[n++] = start + column * steps[inner];
  }
  return voxels;
}

/**
 * @param {Uint8Array} labels
 * @returns {Set<number>} the values that occur
 */
export function valuesIn(labels) {
  const found = new Uint8Array(256);
  for (let voxel = 0; voxel < labels.length; voxel++) found[labels[voxel]] = 1;
  return new Set([...found.keys()].filter(value => found[value]));
}

/**
 * @param {Uint8Array} labels
 * @param {Uint32Array|number[]} voxels
 * @returns {Uint8Array} their values
 */
export function valuesAt(labels, voxels) {
  return Uint8Array.from(voxels, voxel => labels[voxel]);
}

/** @param {Dims} dims @returns {Dims} from one voxel to the next along i, j and k, in an array */
function strides([columns, rows]) {
  return [1, columns, columns * rows];
}
