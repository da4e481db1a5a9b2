import assert from 'node:assert/strict';
import { test } from 'node:test';

import { changedVoxels, difference, equal, sliceVoxels, Touched, valuesIn } from '../../apps/slmsam2/ohif/touched.js';

const DIMS = [4, 3, 5];
const at = (i, j, k) => i + DIMS[0] * (j + DIMS[1] * k);

function painted(...voxels) {
  const labels = new Uint8Array(60);
  for (const [i, j, k, value] of voxels) labels[at(i, j, k)] = value;
  return labels;
}

test('the voxels of a slice, along each axis', () => {
  assert.deepEqual([...sliceVoxels(DIMS, 2, 4)], Array.from({ length: 12 }, (_, n) => at(0, 0, 4) + n));
  assert.deepEqual([...sliceVoxels(DIMS, 1, 1)].slice(0, 5), [at(0, 1, 0), at(1, 1, 0), at(2, 1, 0), at(3, 1, 0), at(0, 1, 1)]);
  assert.deepEqual([...sliceVoxels(DIMS, 0, 3)].slice(0, 4), [at(3, 0, 0), at(3, 1, 0), at(3, 2, 0), at(3, 0, 1)]);
  assert.deepEqual([0, 1, 2].map(axis => sliceVoxels(DIMS, axis, 0).length), [15, 20, 12]);
});

test('all changed voxels are found, however many there are and wherever they lie', () => {
  const before = new Uint8Array(200_003), after = before.slice();
  for (const voxel of [0, 65_535, 65_536, 131_073, 200_002]) after[voxel] = 1;
  assert.deepEqual(changedVoxels(before, after), [0, 65_535, 65_536, 131_073, 200_002]);
});

test('arrays are compared by their values, whatever they are made of', () => {
  const bytes = Uint8Array.of(9, 1, 2, 3, 4, 5, 6, 7, 8);
  assert.ok(equal(bytes.subarray(1), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)));
  assert.ok(equal(Uint8Array.of(1, 2, 3, 4), Uint16Array.of(1, 2, 3, 4)));
  assert.ok(!equal(Uint8Array.of(1, 2, 3, 4), Uint8Array.of(1, 2, 3, 5)));
  assert.ok(!equal(Uint8Array.of(1, 2, 3, 4), Uint16Array.of(1, 2, 3, 5)));
});

test('the values that occur', () => {
  assert.deepEqual(valuesIn(Uint8Array.of(0, 7, 7, 255)), new Set([0, 7, 255]));
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

test('what is added to a copy leaves the original as it was', () => {
  const first = new Touched();
  first.add({ axis: 0, slices: new Map([[1, new Set([3])]]) });
  const both = first.with({ axis: 2, slices: new Map([[1, new Set([4])]]) });
  assert.deepEqual([both.slices(1, 0), both.slices(1, 2), both.lastAxis.get(1)], [[3], [4], 2]);
  assert.deepEqual([first.slices(1, 0), first.slices(1, 2), first.lastAxis.get(1)], [[3], [], 0]);
});
