// Points instead of painting: the server draws the structure on the slice that was clicked.
import { axisAlong, toVoxel } from './geometry.js';
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
 * Add a point; another structure or slice begins anew.
 * @param {Clicked|null} clicked
 * @param {{value: number, axis: import('./touched.js').Axis, voxel: number[], inside: boolean}} point
 * @returns {Clicked}
 */
export function withPoint(clicked, { value, axis, voxel, inside }) {
  const slice = voxel[axis];
  const same = clicked?.value === value && clicked.axis === axis && clicked.slice === slice;
  const { foreground, background } = same ? clicked : { foreground: [], background: [] };
  return {
    value, axis, slice,
    foreground: inside ? [...foreground, voxel] : foreground,
    background: inside ? background : [...background, voxel],
  };
}

/**
 * What changes when the structure becomes what the server drew on its slice; other structures stay.
 * @param {Uint8Array} labels
 * @param {Uint8Array} drawn not 0 where the structure is
 * @param {import('./touched.js').Dims} dims
 * @param {Clicked} clicked
 * @returns {import('./merge.js').Change}
 */
export function drawnOn(labels, drawn, dims, { value, axis, slice }) {
  const next = voxel => (drawn[voxel] ? value : 0);
  const voxels = sliceVoxels(dims, axis, slice)
    .filter(voxel => (!labels[voxel] || labels[voxel] === value) && labels[voxel] !== next(voxel));
  return { voxels, before: valuesAt(labels, voxels), after: Uint8Array.from(voxels, next) };
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
    const world = viewport.canvasToWorld([event.clientX - box.left, event.clientY - box.top]);
    const voxel = toVoxel(Array.from(world), grid).map(Math.round);
    if (voxel.some((index, along) => index < 0 || index >= grid.dims[along])) return;
    onPoint({ axis: axisAlong(viewport.getCamera().viewPlaneNormal, grid), voxel, inside: !event.shiftKey });
  };
  window.addEventListener('mousedown', listener, true);
  return () => window.removeEventListener('mousedown', listener, true);
}
