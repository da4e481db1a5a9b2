import assert from 'node:assert/strict';
import { test } from 'node:test';

import { plan } from '../../apps/slmsam2/ohif/request.js';
import { Touched } from '../../apps/slmsam2/ohif/touched.js';

const DIMS = [10, 20, 30];
const LIVER = { value: 1, name: 'liver' };
const SPLEEN = { value: 2, name: 'spleen' };

function touchedOn(axis, slices) {
  const touched = new Touched();
  touched.add({ axis, slices: new Map(Object.entries(slices).map(([value, all]) => [Number(value), new Set(all)])) });
  return touched;
}

const planned = (choice, touched) =>
  plan({ structures: [LIVER, SPLEEN], named: [LIVER, SPLEEN], direction: 'both', limit: null, ...choice }, touched, DIMS);

test('painted structures are asked for, with their slices', () => {
  const { axis, planes, ranges, params } = planned({}, touchedOn(2, { 1: [12, 7], 5: [3] }));
  assert.equal(axis, 2);
  assert.deepEqual([...planes], [[1, [[], [], [7, 12]]]]);
  assert.deepEqual([...ranges], [[1, [0, 29]]]);
  assert.deepEqual(params.structures, ['liver']);
  assert.deepEqual(params.prompt_slices, { liver: { 2: [7, 12] } });
  assert.deepEqual(params.label_info, [{ name: 'liver', id: 1 }, { name: 'spleen', id: 2 }]);
  assert.equal(params.axis, '2');
});

test('a structure painted across the slices goes along that axis', () => {
  const { axis, ranges } = planned({}, touchedOn(1, { 1: [4] }));
  assert.equal(axis, 1);
  assert.deepEqual([...ranges], [[1, [0, 19]]]);
});

test('of structures painted in different planes those of another plane are left out, by name', () => {
  const touched = touchedOn(2, { 1: [4] });
  touched.join(touchedOn(1, { 2: [7] }));
  const { axis, structures, leftOut } = planned({}, touched);
  assert.deepEqual([axis, structures, leftOut], [1, [SPLEEN], [LIVER]]);
});

test('slices painted in several planes all go along, the axis stays that of the propagation before', () => {
  const touched = touchedOn(2, { 1: [4] });
  touched.join(touchedOn(0, { 1: [6, 5] }));
  const { axis, planes, params } = planned({ along: 2 }, touched);
  assert.equal(axis, 2);
  assert.deepEqual(planes.get(1), [[5, 6], [], [4]]);
  assert.deepEqual(params.prompt_slices, { liver: { 0: [5, 6], 2: [4] } });
  assert.equal(planned({ along: 0 }, touched).axis, 0);
  assert.equal(planned({}, touched).axis, 2); // nothing was propagated yet: that of the series
  assert.equal(planned({ along: 1 }, touched).axis, 2); // along which nothing is given
  const across = touchedOn(1, { 1: [4] });
  across.join(touchedOn(0, { 1: [6] }));
  assert.equal(planned({}, across).axis, 0); // painted along last
});

test('the axis is one along which the structure is still there', () => {
  const touched = touchedOn(2, { 1: [4] });
  touched.join(touchedOn(0, { 1: [6] }));
  const choice = { structures: [LIVER], named: [LIVER], direction: 'both', limit: null, along: 2 };
  const { axis, planes } = plan(choice, touched, DIMS, (_value, along) => along === 0); // erased from the slice
  assert.deepEqual([axis, planes.get(1)], [0, [[6], [], [4]]]);
});

test('the axis is one that leaves out no structure, if there is one', () => {
  const touched = touchedOn(2, { 1: [4], 2: [7] });
  touched.join(touchedOn(0, { 2: [3] }));
  const { axis, leftOut, params } = planned({}, touched);
  assert.deepEqual([axis, leftOut], [2, []]);
  assert.deepEqual(params.prompt_slices, { liver: { 2: [4] }, spleen: { 0: [3], 2: [7] } });
});

test('one direction leaves the other side alone, for each structure its own', () => {
  const touched = touchedOn(2, { 1: [5, 9], 2: [12] });
  assert.deepEqual([...planned({ direction: 'forward' }, touched).ranges], [[1, [5, 29]], [2, [12, 29]]]);
  assert.deepEqual([...planned({ direction: 'backward' }, touched).ranges], [[1, [0, 9]], [2, [0, 12]]]);
});

test('up to a slice, ahead of the painted ones or behind', () => {
  const touched = touchedOn(2, { 1: [5, 9] });
  assert.deepEqual([...planned({ limit: 20 }, touched).ranges], [[1, [0, 20]]]);
  assert.deepEqual([...planned({ limit: 2 }, touched).ranges], [[1, [2, 29]]]);
  const forward = planned({ limit: 20, direction: 'forward' }, touched);
  assert.deepEqual([forward.params.first_slice, forward.params.last_slice], [5, 20]);
});

test('what cannot be done is said', () => {
  assert.throws(() => planned({}, new Touched()), /Paint liver, spleen on one slice first/);
  assert.throws(() => planned({ limit: 30 }, touchedOn(2, { 1: [5] })), /slices are 0 to 29/);
  assert.throws(() => planned({ limit: 7 }, touchedOn(2, { 1: [5, 9] })), /does not lie ahead/);
  assert.throws(() => planned({ limit: 2, direction: 'forward' }, touchedOn(2, { 1: [5] })), /does not lie ahead/);
});
