// Which voxels a viewport shows. The images of a stack may lie at any distance, or askew (a tilted gantry): each has a
// position of its own, and is known by its name.
import { add, axisAlong, dot, isAcross, scale, subtract, toVoxel, toWorld } from './geometry.js';

/**
 * @typedef {import('./geometry.js').Grid} Grid
 * @typedef {import('./touched.js').Axis} Axis
 * @typedef {{axis: Axis, isTurned: boolean}} Plane the axis that it comes closest to lying across; whether it lies askew
 */

/**
 * @param {any} viewport of cornerstone
 * @param {Grid} grid
 * @returns {Axis} that its plane comes closest to lying across
 */
export function axisOf(viewport, grid) {
  return axisAlong(viewport.getCamera().viewPlaneNormal, grid);
}

/**
 * @param {any} viewport of cornerstone
 * @param {Grid} grid
 * @returns {Plane} of its own
 */
export function planeOf(viewport, grid) {
  const axis = axisOf(viewport, grid);
  return { axis, isTurned: !isAcross(viewport.getCamera().viewPlaneNormal, grid, axis) };
}

/**
 * @param {any} viewport whose plane lies across the axis
 * @param {Grid} grid
 * @param {Axis} axis
 * @returns {number|null} the slice on the screen; null: an image of something else
 */
export function sliceOf(viewport, grid, axis) {
  if (viewport.type !== 'stack') return Math.round(toVoxel(Array.from(viewport.getCamera().focalPoint), grid)[axis]);
  const k = grid.sources.indexOf(viewport.getCurrentImageId());
  return k < 0 ? null : k;
}

/**
 * @param {any} viewport
 * @param {[number, number]} canvas a point of it, pixels
 * @param {Grid} grid
 * @returns {import('./geometry.js').Vector|null} the voxel there; null: none
 */
export function voxelAt(viewport, canvas, grid) {
  const world = Array.from(viewport.canvasToWorld(canvas));
  const voxel = viewport.type === 'stack' ? inStack(viewport, world, grid) : toVoxel(world, grid).map(Math.round);
  return voxel?.every((index, along) => index >= 0 && index < grid.dims[along]) ? voxel : null;
}

/** @returns {import('./geometry.js').Vector|null} the voxel of the image that a stack shows; null: of something else */
function inStack(viewport, world, grid) {
  const k = sliceOf(viewport, grid, 2);
  if (k === null) return null;
  const [i, j] = toVoxel(world, { ...grid, origin: grid.positions[k] }).map(Math.round);
  return [i, j, k];
}

/**
 * Make a viewport show a slice.
 * @param {any} viewport whose plane lies across the axis
 * @param {Grid} grid
 * @param {Axis} axis
 * @param {number} slice
 * @returns {boolean} whether it can
 */
export function show(viewport, grid, axis, slice) {
  if (viewport.type === 'stack') {
    const index = viewport.getImageIds().indexOf(grid.sources[slice]);
    if (index >= 0) viewport.setImageIdIndex(index);
    return index >= 0;
  }
  const { viewPlaneNormal, focalPoint, position } = viewport.getCamera();
  const voxel = toVoxel(Array.from(focalPoint), grid);
  voxel[axis] = slice;
  const shift = scale(viewPlaneNormal, dot(subtract(toWorld(voxel, grid), focalPoint), viewPlaneNormal));
  viewport.setCamera({ focalPoint: add(focalPoint, shift), position: add(position, shift) });
  viewport.render();
  return true;
}
