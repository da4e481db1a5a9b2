// Points instead of painting: the server draws the structure on the slice that was clicked.
import { axisOf, voxelAt } from './shown.js';
import { sliceVoxels, valuesAt } from './touched.js';

/** Models that take points are of this type in MONAI Label. */
const TYPE = 'deepgrow';

/**
 * @param {any} info the server's /info/
 * @returns {string|null} the model that draws a slice from points
 */
export function pointModel(info) {
  const models = Object.entries(info?.models ?? {}).filter(([, model]) => model.type === TYPE);
  return (models.find(([name]) => name === 'slmsam2_slice') ?? models[0])?.[0] ?? null;
}

/**
 * The points of one structure on one slice.
 * @typedef {object} Clicked
 * @property {number} value of the structure
 * @property {import('./touched.js').Axis} axis
 * @property {number} slice
 * @property {number[][]} foreground voxels inside, whole numbers
 * @property {number[][]} background voxels outside
 */

/**
 * A slice before the first of its points.
 * @typedef {object} Before
 * @property {Uint32Array} voxels of the slice, as indices into the label map
 * @property {Uint8Array} values of these voxels
 */

/**
 * Add a point; another structure or slice begins anew.
 * @param {Clicked|null} clicked
 * @param {{value: number, axis: import('./touched.js').Axis, voxel: number[], inside: boolean}} point
 * @returns {Clicked}
 */
export function withPoint(clicked, point) {
  const { value, axis, voxel, inside } = point;
  const { foreground, background } = isSamePlace(clicked, point) ? clicked : { foreground: [], background: [] };
  return {
    value, axis, slice: voxel[axis],
    foreground: inside ? [...foreground, voxel] : foreground,
    background: inside ? background : [...background, voxel],
  };
}

/** Whether a point is of the same structure and slice as those before. */
export function isSamePlace(clicked, { value, axis, voxel }) {
  return clicked?.value === value && clicked.axis === axis && clicked.slice === voxel[axis];
}

/**
 * What to ask the server for. What was on the slice before the first point goes along, to be corrected; what earlier
 * points drew does not: these points are all sent again, and the answer may be another one.
 * @param {Clicked} clicked
 * @param {string} name of the structure
 * @param {Before} before
 * @param {import('./touched.js').Dims} dims
 * @returns {{params: Record<string, unknown>, labels: Uint8Array|null}} labels: null where there is nothing to correct
 */
export function pointRequest({ value, axis, slice, foreground, background }, name, { voxels, values }, dims) {
  const params = {
    foreground,
    background,
    label: name,
    label_info: [{ name, id: value }],
    prompt_slices: [slice], // the slice is what is sent here, whatever the server remembers
    axis: String(axis),
    slice,
  };
  if (!values.includes(value)) return { params, labels: null };
  const labels = new Uint8Array(dims[0] * dims[1] * dims[2]);
  voxels.forEach((voxel, n) => { if (values[n] === value) labels[voxel] = value; });
  return { params, labels };
}

/**
 * What changes when the structure becomes what the server drew on its slice; other structures stay, and so does what
 * was painted since the server was asked.
 * @param {Uint8Array} labels
 * @param {Uint8Array} drawn not 0 where the structure is
 * @param {import('./touched.js').Dims} dims
 * @param {Clicked} clicked
 * @param {Before} asked the slice as it was when the server was asked
 * @returns {import('./merge.js').Change}
 */
export function drawnOn(labels, drawn, dims, { value, axis, slice }, asked) {
  const next = voxel => (drawn[voxel] ? value : 0);
  const voxels = sliceVoxels(dims, axis, slice)
    .filter((voxel, n) => labels[voxel] === asked.values[n])
    .filter(voxel => (!labels[voxel] || labels[voxel] === value) && labels[voxel] !== next(voxel));
  return { voxels, before: valuesAt(labels, voxels), after: Uint8Array.from(voxels, next) };
}

/**
 * What a propagation found meanwhile on a slice that is being drawn is not what was painted since: it gives way to the
 * drawing.
 * @param {Before} asked the slice as it was when the server was asked; changed
 * @param {Uint8Array} before the label map before the propagation
 * @param {Uint8Array} after and with it
 */
export function giveWay({ voxels, values }, before, after) {
  voxels.forEach((voxel, n) => { if (values[n] === before[voxel]) values[n] = after[voxel]; });
}

/**
 * Listen for clicks on the series' viewports.
 * @param {import('./viewer.js').Viewer} viewer
 * @param {any} series
 * @param {import('./geometry.js').Grid} grid
 * @param {(point: {axis: import('./touched.js').Axis, voxel: number[], inside: boolean}) => void} onPoint
 * @returns {() => void} ends it
 */
export function listenForPoints(viewer, series, grid, onPoint) {
  const listener = event => {
    const viewport = viewer.viewportsOf(series).find(each => each.element.contains(event.target));
    if (!viewport || event.button !== 0) return;
    event.stopPropagation(); // the tool of the left button has a rest
    event.preventDefault();
    const box = viewport.element.getBoundingClientRect();
    const voxel = voxelAt(viewport, [event.clientX - box.left, event.clientY - box.top], grid);
    if (voxel) onPoint({ axis: axisOf(viewport, grid), voxel, inside: !event.shiftKey });
  };
  window.addEventListener('mousedown', listener, true);
  return () => window.removeEventListener('mousedown', listener, true);
}
