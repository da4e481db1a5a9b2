// Positions in the patient (mm) and voxels of the series.

/**
 * @typedef {[number, number, number]} Vector
 * @typedef {object} Grid the voxels of a series
 * @property {import('./touched.js').Dims} dims
 * @property {Vector} origin centre of voxel (0, 0, 0), mm
 * @property {[Vector, Vector, Vector]} steps from one voxel to the next along i, j and k, mm; along k on the average
 * @property {Vector[]} positions centre of voxel (0, 0) of each slice, mm
 * @property {string[]} sources name of each slice's image
 */

const COSINE = Math.cos(Math.PI / 180);

export const add = (a, b) => /** @type {Vector} */ (a.map((x, n) => x + b[n]));
export const subtract = (a, b) => /** @type {Vector} */ (a.map((x, n) => x - b[n]));
export const scale = (a, factor) => /** @type {Vector} */ (a.map(x => x * factor));
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => /** @type {Vector} */ ([
  a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0],
]);

/**
 * The order of slices along row x column direction: the way the server counts them.
 * @param {Vector[]} positions of the slices' first voxels, mm
 * @param {Vector} alongColumns direction in which the column number grows
 * @param {Vector} alongRows direction in which the row number grows
 * @returns {number[]} for k = 0, 1, ...: which of the positions
 */
export function sliceOrder(positions, alongColumns, alongRows) {
  const normal = cross(alongColumns, alongRows);
  return positions.map((_, n) => n).sort((a, b) => dot(positions[a], normal) - dot(positions[b], normal));
}

/**
 * @param {Vector} world mm
 * @param {Grid} grid with axes at right angles
 * @returns {Vector} fractions of voxels
 */
export function toVoxel(world, { origin, steps }) {
  const offset = subtract(world, origin);
  return /** @type {Vector} */ (steps.map(step => dot(offset, step) / dot(step, step)));
}

/**
 * @param {Vector} voxel
 * @param {Grid} grid
 * @returns {Vector} mm
 */
export function toWorld(voxel, { origin, steps }) {
  return voxel.reduce((sum, index, axis) => add(sum, scale(steps[axis], index)), origin);
}

/**
 * @param {Vector} normal of a plane
 * @param {Grid} grid
 * @returns {import('./touched.js').Axis} the voxel axis that comes closest to it
 */
export function axisAlong(normal, { steps }) {
  const cosines = steps.map(step => cosine(step, normal));
  return /** @type {import('./touched.js').Axis} */ (cosines.indexOf(Math.max(...cosines)));
}

/**
 * @param {import('./touched.js').Axis} axis
 * @param {Grid} grid
 * @returns {'sagittal'|'coronal'|'axial'} how slices along the axis are called
 */
export function planeName(axis, { steps }) {
  const lengths = steps[axis].map(Math.abs);
  return /** @type {const} */ (['sagittal', 'coronal', 'axial'])[lengths.indexOf(Math.max(...lengths))];
}

/** Whether a plane lies across a voxel axis, to one degree. */
export function isAcross(normal, { steps }, axis) {
  return cosine(steps[axis], normal) > COSINE;
}

const cosine = (step, normal) => Math.abs(dot(step, normal)) / Math.sqrt(dot(step, step) * dot(normal, normal));
