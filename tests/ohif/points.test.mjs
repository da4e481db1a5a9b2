import assert from 'node:assert/strict';
import { test } from 'node:test';

import { applied } from '../../apps/slmsam2/ohif/merge.js';
import { drawnOn, pointModel, pointRequest, withPoint } from '../../apps/slmsam2/ohif/points.js';

test('the model that takes points', () => {
  const models = { slmsam2: { type: 'scribbles' }, other: { type: 'deepgrow' }, slmsam2_slice: { type: 'deepgrow' } };
  assert.equal(pointModel({ models }), 'slmsam2_slice');
  assert.equal(pointModel({ models: { slmsam2: models.slmsam2 } }), null);
  assert.equal(pointModel(null), null);
});

test('points gather on one slice of one structure', () => {
  let clicked = withPoint(null, { value: 1, axis: 2, voxel: [3, 4, 7], inside: true });
  clicked = withPoint(clicked, { value: 1, axis: 2, voxel: [5, 5, 7], inside: false });
  assert.deepEqual(clicked, { value: 1, axis: 2, slice: 7, foreground: [[3, 4, 7]], background: [[5, 5, 7]] });
  assert.deepEqual(withPoint(clicked, { value: 1, axis: 2, voxel: [3, 4, 8], inside: true }).background, []);
  assert.deepEqual(withPoint(clicked, { value: 2, axis: 2, voxel: [3, 4, 7], inside: true }).background, []);
});

test('the answer replaces the structure on that slice only', () => {
  const dims = [2, 1, 3];
  const labels = Uint8Array.of(1, 1, 1, 2, 1, 1);
  const drawn = Uint8Array.of(1, 0, 0, 1, 0, 0);
  const clicked = { value: 1, axis: 2, slice: 1, foreground: [], background: [] };
  const asked = { values: labels.subarray(2, 4) };
  assert.deepEqual([...applied(labels, drawnOn(labels, drawn, dims, clicked, asked))], [1, 1, 0, 2, 1, 1]);
  const painted = { values: Uint8Array.of(0, 2) }; // the first voxel since then
  assert.deepEqual(drawnOn(labels, drawn, dims, clicked, painted).voxels.length, 0);
});

test('what is on the slice of this structure goes along, to be corrected', () => {
  const clicked = { value: 1, axis: 2, slice: 1, foreground: [[0, 0, 1]], background: [[1, 0, 1]] };
  const before = values => ({ voxels: Uint32Array.of(2, 3), values: Uint8Array.from(values), touched: true });
  const { params, labels } = pointRequest(clicked, 'liver', before([1, 2]), [2, 1, 3]);
  assert.deepEqual([...labels], [0, 0, 1, 0, 0, 0]);
  assert.deepEqual(params.label_info, [{ name: 'liver', id: 1 }]);
  assert.deepEqual([params.label, params.slice, params.prompt_slices, params.axis], ['liver', 1, [1], '2']);
  assert.deepEqual([params.foreground, params.background], [[[0, 0, 1]], [[1, 0, 1]]]);
  assert.equal(pointRequest(clicked, 'liver', before([0, 2]), [2, 1, 3]).labels, null);
});
