// Which slices the user painted or changed by hand. Slices that a propagation filled do not count.

/**
 * @typedef {[number, number, number]} Dims voxels along i (columns), j (rows), k (slices); arrays run i fastest
 * @typedef {0|1|2} Axis
 * @typedef {{axis: Axis, slices: Map<number, Set<number>>}} Difference value -> slices along the axis
 */

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
   * @param {number} value
   * @param {Axis} axis
   * @returns {number[]} ascending
   */
  slices(value, axis) {
    return [...(this.byValue.get(value)?.[axis] ?? [])].sort((a, b) => a - b);
  }

  /** @param {number} value */
  forget(value) {
    this.byValue.delete(value);
    this.lastAxis.delete(value);
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
 * A stroke of a round brush stays on one slice of the plane it was painted in: that tells the axis. What spreads over
 * all three (a ball-shaped brush) counts along the slices of the series.
 * @param {Uint8Array} before
 * @param {Uint8Array} after
 * @param {Dims} dims
 * @returns {Difference|null} null: nothing changed
 */
export function difference(before, after, dims) {
  const changed = changedVoxels(before, after);
  if (changed.length === 0) return null;
  const axis = thinAxis(changed, dims);
  /** @type {Map<number, Set<number>>} */
  const slices = new Map();
  for (const voxel of changed) {
    const index = position(voxel, dims)[axis];
    for (const value of [before[voxel], after[voxel]]) {
      if (value === 0) continue;
      if (!slices.has(value)) slices.set(value, new Set());
      slices.get(value).add(index);
    }
  }
  return { axis, slices };
}

/** @returns {number[]} indices into the arrays */
function changedVoxels(before, after) {
  const changed = [];
  for (let voxel = 0; voxel < after.length; voxel++) {
    if (before[voxel] !== after[voxel]) changed.push(voxel);
  }
  return changed;
}

/** The axis along which all changes lie on one slice; the series' own (2) if there are several, or none. */
function thinAxis(changed, dims) {
  const first = position(changed[0], dims);
  const thin = [true, true, true];
  for (const voxel of changed) {
    const here = position(voxel, dims);
    for (let axis = 0; axis < 3; axis++) thin[axis] &&= here[axis] === first[axis];
  }
  const axis = thin[2] ? 2 : thin.indexOf(true);
  return /** @type {Axis} */ (axis < 0 ? 2 : axis);
}

/**
 * @param {number} voxel index into an array
 * @param {Dims} dims
 * @returns {[number, number, number]} i, j, k
 */
export function position(voxel, [columns, rows]) {
  return [voxel % columns, Math.floor(voxel / columns) % rows, Math.floor(voxel / (columns * rows))];
}
