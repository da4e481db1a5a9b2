import assert from 'node:assert/strict';
import { test } from 'node:test';

import { axisAlong, sliceOrder, toVoxel, toWorld } from '../../apps/slmsam2/ohif/geometry.js';

const close = (a, b) => a.forEach((x, n) => assert.ok(Math.abs(x - b[n]) < 1e-9, `${a} is not ${b}`));

// oblique, left-handed in its numbers: 0.8 x 0.6 x 3 mm
const c = Math.cos(0.3), s = Math.sin(0.3);
const GRID = {
  dims: [20, 30, 10],
  origin: [-40, 12, 7],
  steps: [[0.8 * c, 0.8 * s, 0], [-0.6 * s, 0.6 * c, 0], [0, 0, 3]],
};

test('voxel to world and back', () => {
  close(toWorld([0, 0, 0], GRID), GRID.origin);
  close(toVoxel(toWorld([3, 17, 8], GRID), GRID), [3, 17, 8]);
});

test('slices ascend along row x column, however the files are numbered', () => {
  const axial = [[0, 0, 9], [0, 0, 3], [0, 0, 6]];
  assert.deepEqual(sliceOrder(axial, [1, 0, 0], [0, 1, 0]), [1, 2, 0]);
  const sagittal = [[5, 0, 0], [-5, 0, 0]]; // rows run back, columns run down: the normal points to the right
  assert.deepEqual(sliceOrder(sagittal, [0, 1, 0], [0, 0, -1]), [0, 1]);
});

test('the axis a plane lies across', () => {
  assert.equal(axisAlong([0, 0, -1], GRID), 2);
  assert.equal(axisAlong([-1, 0, 0], GRID), 0);
  assert.equal(axisAlong([0.2, 0.97, 0], GRID), 1);
});
