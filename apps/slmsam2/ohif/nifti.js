// Reading the labelmaps that the server sends: NIfTI-1, with or without gzip.
import { unzipped } from './gzip.js';

const HEADER = 348;
const TYPES = { 2: Uint8Array, 4: Int16Array, 8: Int32Array, 512: Uint16Array, 768: Uint32Array };

/**
 * @param {ArrayBuffer} buffer
 * @returns {Promise<{dims: import('./touched.js').Dims, data: Uint8Array}>} i fastest
 * @throws {Error} when it is no NIfTI labelmap with values up to 255
 */
export async function readLabels(buffer) {
  const bytes = await plain(buffer);
  const view = new DataView(bytes);
  if (bytes.byteLength < HEADER || view.getInt32(0, true) !== HEADER) {
    throw new Error('The server sent a label that this viewer cannot read (no NIfTI file).');
  }
  const dims = /** @type {import('./touched.js').Dims} */ ([1, 2, 3].map(n => view.getInt16(40 + 2 * n, true)));
  const Type = TYPES[view.getInt16(70, true)];
  if (!Type) throw new Error('The server sent a label that this viewer cannot read (no whole numbers).');
  const count = dims[0] * dims[1] * dims[2];
  const start = view.getFloat32(108, true);
  if (Type === Uint8Array) return { dims, data: new Uint8Array(bytes).subarray(start, start + count) };
  const data = new Type(bytes.slice(start, start + count * Type.BYTES_PER_ELEMENT));
  if (data.some(value => value < 0 || value > 255)) {
    throw new Error('The label has values above 255: this viewer holds 255 structures.');
  }
  return { dims, data: Uint8Array.from(data) };
}

/** @param {ArrayBuffer} buffer */
async function plain(buffer) {
  const head = new Uint8Array(buffer, 0, Math.min(2, buffer.byteLength));
  if (head[0] !== 0x1f || head[1] !== 0x8b) return buffer;
  return unzipped(buffer).arrayBuffer();
}
