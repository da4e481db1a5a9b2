import assert from 'node:assert/strict';
import { test } from 'node:test';

import { applied, merge, promptLabels, reverted } from '../../apps/slmsam2/ohif/merge.js';
import { Touched } from '../../apps/slmsam2/ohif/touched.js';

const DIMS = [2, 1, 4]; // two voxels on each of four slices
const ALL = new Map([[1, [0, 3]]]);
const bytes = (...values) => Uint8Array.from(values);

function touchedOn(value, ...slices) {
  const touched = new Touched();
  touched.add({ axis: 2, slices: new Map([[value, new Set(slices)]]) });
  return touched;
}

const result = (labels, reply, ranges, touched) =>
  [...applied(labels, merge(labels, reply, DIMS, { axis: 2, ranges }, touched))];

test('of what is asked for only the prompts are sent, of the rest all', () => {
  const labels = bytes(1, 2, 1, 2, 1, 2, 0, 2);
  const sent = (...planes) => [...promptLabels(labels, DIMS, new Map(planes))];
  assert.deepEqual(sent([1, [[], [], [0, 3]]], [2, [[], [], [1]]]), [1, 0, 0, 2, 0, 0, 0, 0]);
  assert.deepEqual(sent([1, [[], [], [0, 3]]]), [1, 2, 0, 2, 0, 2, 0, 2]);
  assert.deepEqual(sent([1, [[0], [], [0]]], [2, [[0], [], [3]]]), [1, 0, 1, 0, 1, 0, 0, 2]);
});

test('the result comes in, painted slices stay', () => {
  const labels = bytes(0, 0, 1, 0, 0, 0, 0, 0);
  const reply = bytes(0, 1, 1, 1, 1, 1, 0, 0);
  assert.deepEqual(result(labels, reply, ALL, touchedOn(1, 1)), [0, 1, 1, 0, 1, 1, 0, 0]);
});

test('an earlier result is replaced, a slice that the user emptied stays empty', () => {
  const labels = bytes(1, 1, 1, 1, 0, 0, 1, 1);
  const reply = bytes(1, 0, 1, 1, 1, 1, 0, 0);
  assert.deepEqual(result(labels, reply, ALL, touchedOn(1, 1, 2)), [1, 0, 1, 1, 0, 0, 0, 0]);
});

test('structures that were not asked for are not overwritten', () => {
  const labels = bytes(2, 0, 1, 1, 2, 0, 0, 0);
  const reply = bytes(1, 1, 1, 1, 1, 1, 0, 0);
  assert.deepEqual(result(labels, reply, ALL, touchedOn(1, 1)), [2, 1, 1, 1, 2, 1, 0, 0]);
});

test('nothing changes outside the range', () => {
  const labels = bytes(1, 1, 1, 1, 0, 0, 0, 0);
  const reply = bytes(0, 0, 1, 1, 1, 1, 1, 1);
  const ranges = new Map([[1, [1, 2]]]);
  assert.deepEqual(result(labels, reply, ranges, touchedOn(1, 1)), [1, 1, 1, 1, 1, 1, 0, 0]);
});

test('one propagated structure may take the place of another, where neither was painted', () => {
  const labels = bytes(1, 1, 1, 0, 1, 2, 0, 2);
  const reply = bytes(2, 1, 1, 0, 2, 2, 0, 2);
  const ranges = new Map([[1, [0, 3]], [2, [0, 3]]]);
  const touched = touchedOn(1, 1);
  touched.add({ axis: 2, slices: new Map([[2, new Set([3])]]) });
  assert.deepEqual(result(labels, reply, ranges, touched), [2, 1, 1, 0, 2, 2, 0, 2]);
});

test('a slice painted across the others is kept, too', () => {
  const touched = new Touched();
  touched.add({ axis: 0, slices: new Map([[1, new Set([0])]]) });
  const labels = bytes(1, 0, 0, 0, 1, 0, 0, 0);
  const reply = bytes(0, 1, 1, 1, 1, 1, 1, 1);
  assert.deepEqual(result(labels, reply, ALL, touched), [1, 1, 0, 1, 1, 1, 0, 1]);
});

test('undo restores what was there, except what the user has changed since', () => {
  const labels = bytes(0, 0, 1, 0, 1, 1, 0, 0);
  const change = merge(labels, bytes(1, 1, 1, 1, 0, 0, 1, 1), DIMS, { axis: 2, ranges: ALL }, touchedOn(1, 1));
  const after = applied(labels, change);
  assert.deepEqual([...reverted(after, change)], [...labels]);
  after[0] = 0; // erased by the user
  after[7] = 2; // painted over by the user
  assert.deepEqual([...reverted(after, change)], [0, 0, 1, 0, 1, 1, 0, 2]);
});
