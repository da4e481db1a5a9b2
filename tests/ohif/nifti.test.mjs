import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { readLabels } from '../../apps/slmsam2/ohif/nifti.js';

/** A NIfTI file of 2 x 1 x 3 voxels. */
function file(type, values) {
  const bytes = new Uint8Array(352 + values.byteLength);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, 348, true);
  [3, 2, 1, 3].forEach((n, at) => view.setInt16(40 + 2 * at, n, true));
  view.setInt16(70, type, true);
  view.setFloat32(108, 352, true);
  bytes.set(new Uint8Array(values.buffer), 352);
  return bytes;
}

const VALUES = [0, 1, 2, 255, 0, 4];

test('bytes, plain and zipped', async () => {
  const plain = file(2, Uint8Array.from(VALUES));
  for (const bytes of [plain, gzipSync(plain)]) {
    const { dims, data } = await readLabels(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    assert.deepEqual(dims, [2, 1, 3]);
    assert.deepEqual([...data], VALUES);
  }
});

test('wider whole numbers', async () => {
  const { data } = await readLabels(file(512, Uint16Array.from(VALUES)).buffer);
  assert.deepEqual([...data], VALUES);
});

test('what cannot be read is said', async () => {
  await assert.rejects(readLabels(new ArrayBuffer(10)), /no NIfTI file/);
  await assert.rejects(readLabels(file(16, Float32Array.from(VALUES)).buffer), /no whole numbers/);
  await assert.rejects(readLabels(file(512, Uint16Array.of(0, 300, 0, 0, 0, 0)).buffer), /above 255/);
});
