// Label maps and files for the tests.
import { Labelmap } from '../../apps/slmsam2/ohif/labelmap.js';

/** What OHIF holds of segmentations of one series; `add` gives it an empty one, and returns its slices' pixels. */
export function screenOf([columns, rows, slices]) {
  /** @type {Map<string, Uint8Array[]>} */
  const held = new Map();
  const getImage = ([id, k]) => ({ referencedImageId: k, voxelManager: { getScalarData: () => held.get(id)[k] } });
  const plane = k => ({
    imagePositionPatient: [0, 0, k], rowCosines: [1, 0, 0], columnCosines: [0, 1, 0], columns, rows,
    columnPixelSpacing: 1, rowPixelSpacing: 1,
  });
  const cornerstone = {
    cache: { getImage },
    metaData: { get: (_, k) => plane(k) },
    eventTarget: new EventTarget(),
    triggerEvent: (target, type, detail) => target.dispatchEvent(Object.assign(new Event(type), { detail })),
  };
  const getSegmentation = id => ({
    representationData: { Labelmap: { imageIds: [...held.get(id).keys()].map(k => [id, k]) } },
  });
  const add = id => {
    held.set(id, Array.from({ length: slices }, () => new Uint8Array(columns * rows)));
    return held.get(id);
  };
  return { add, cornerstone, tools: { segmentation: { state: { getSegmentation } } } };
}

/**
 * An empty label map, as OHIF holds it.
 * @returns {{labelmap: Labelmap, images: Uint8Array[]}} images: the pixels of its slices
 */
export function labelmapOf(dims, id = 'a') {
  const { add, cornerstone, tools } = screenOf(dims);
  const images = add(id);
  return { labelmap: new Labelmap(id, cornerstone, tools), images };
}

/**
 * @param {number[]} [values] of its first voxels
 * @returns {ArrayBuffer} a NIfTI file of bytes, all others 0
 */
export function niftiOf(dims, values = []) {
  const file = new ArrayBuffer(352 + dims[0] * dims[1] * dims[2]);
  const header = new DataView(file);
  header.setInt32(0, 348, true);
  dims.forEach((size, axis) => header.setInt16(42 + 2 * axis, size, true));
  header.setInt16(70, 2, true);
  header.setFloat32(108, 352, true);
  new Uint8Array(file, 352).set(values);
  return file;
}

/** A request that hangs until it is given up, as `fetch` does. */
export function hanging(signal) {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
}

/** After all that is under way now, or some ms later. */
export function later(ms = 0) {
  return new Promise(resolve => setTimeout(resolve, ms));
}
