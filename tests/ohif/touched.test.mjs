import assert from 'node:assert/strict';
import { test } from 'node:test';

import { difference, position, Touched } from '../../apps/slmsam2/ohif/touched.js';

const DIMS = [4, 3, 5];
const at = (i, j, k) => i + DIMS[0] * (j + DIMS[1] * k);

function painted(...voxels) {
  const labels = new Uint8Array(60);
  for (const [i, j, k, value] of voxels) labels[at(i, j, k)] = value;
  return labels;
}

test('positions run i fastest', () => {
  assert.deepEqual(position(at(3, 2, 4), DIMS), [3, 2, 4]);
  assert.deepEqual(position(at(0, 1, 0), DIMS), [0, 1, 0]);
});

test('no change is no difference', () => {
  assert.equal(difference(painted([1, 1, 1, 2]), painted([1, 1, 1, 2]), DIMS), null);
});

test('a stroke on one slice of the series', () => {
  const found = difference(painted(), painted([1, 1, 2, 7], [2, 1, 2, 7]), DIMS);
  assert.equal(found.axis, 2);
  assert.deepEqual([...found.slices], [[7, new Set([2])]]);
});

test('a stroke in a plane across the slices', () => {
  const found = difference(painted(), painted([1, 0, 1, 7], [1, 2, 4, 7]), DIMS);
  assert.equal(found.axis, 0);
  assert.deepEqual([...found.slices], [[7, new Set([1])]]);
});

test('a ball counts along the slices of the series', () => {
  const found = difference(painted(), painted([1, 1, 1, 7], [2, 1, 2, 7], [1, 2, 3, 7]), DIMS);
  assert.equal(found.axis, 2);
  assert.deepEqual(found.slices.get(7), new Set([1, 2, 3]));
});

test('painting over another structure, and erasing, touch both', () => {
  const over = difference(painted([1, 1, 1, 3]), painted([1, 1, 1, 4]), DIMS);
  assert.deepEqual([...over.slices.keys()].sort(), [3, 4]);
  const erased = difference(painted([1, 1, 1, 3], [2, 1, 1, 3]), painted([2, 1, 1, 3]), DIMS);
  assert.deepEqual([...erased.slices], [[3, new Set([1])]]);
});

test('touched slices add up, per structure and axis', () => {
  const touched = new Touched();
  touched.add({ axis: 2, slices: new Map([[1, new Set([4])]]) });
  touched.add({ axis: 2, slices: new Map([[1, new Set([0, 4])], [2, new Set([3])]]) });
  touched.add({ axis: 0, slices: new Map([[1, new Set([2])]]) });
  assert.deepEqual(touched.slices(1, 2), [0, 4]);
  assert.deepEqual(touched.slices(1, 0), [2]);
  assert.deepEqual(touched.slices(2, 2), [3]);
  assert.deepEqual(touched.slices(9, 2), []);
  assert.equal(touched.lastAxis.get(1), 0);
  assert.deepEqual(touched.flags(1, DIMS).map(flags => [...flags]), [[0, 0, 1, 0], [0, 0, 0], [1, 0, 0, 0, 1]]);
});
