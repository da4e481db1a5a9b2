import assert from 'node:assert/strict';
import { test } from 'node:test';

import { History } from '../../apps/slmsam2/ohif/history.js';
import { onPress, pointer, watchPointer } from '../../apps/slmsam2/ohif/pointer.js';
import { Session } from '../../apps/slmsam2/ohif/session.js';
import { labelmapOf } from './made_up.mjs';

const DIMS = [3, 1, 3];

/** Work on a small label map; `paint` is a stroke. */
function work() {
  const { labelmap, images } = labelmapOf(DIMS);
  const session = new Session({}, labelmap, () => {});
  session.stop();
  const paint = (k, values) => { images[k].set(values); session.notice(); };
  return { session, paint, shown: () => images.map(pixels => pixels.join('')).join(' ') };
}

/** A propagation of value 1 from slice 0 along the slices, that finds its first column. */
function propagate(session) {
  const result = Uint8Array.from([1, 0, 0, 1, 0, 0, 1, 0, 0]);
  const liver = { value: 1, painted: [0], first: 0, last: 2, confidence: { 0: 1, 1: 0.9, 2: 0.5 }, gain: { 0: 0, 1: 0.1, 2: 0.4 } };
  session.accept(result, { axis: 2, ranges: new Map([[1, [0, 2]]]) }, { liver });
}

test('strokes, a propagation and a correction are taken back one by one, and done again', () => {
  const { session, paint, shown } = work();
  const states = [shown()];
  const touched = () => session.touched.slices(1, 2).join();
  const given = [touched()];
  const note = () => { states.push(shown()); given.push(touched()); };
  paint(0, [1, 1, 0]);
  note();
  propagate(session);
  note();
  paint(2, [0, 0, 0]);
  note();
  assert.deepEqual(states, ['000 000 000', '110 000 000', '110 100 100', '110 100 000']);
  assert.deepEqual(given, ['', '0', '0', '0,2']);
  const said = [];
  for (let step = 2; step >= 0; step--) {
    said.push(session.undo().what);
    assert.deepEqual([shown(), touched()], [states[step], given[step]]);
  }
  assert.deepEqual(said, ['painting', 'propagation', 'painting']);
  assert.deepEqual([session.history.last, session.report.structures], [undefined, {}]);
  for (let step = 1; step <= 3; step++) {
    session.redo();
    assert.deepEqual([shown(), touched()], [states[step], given[step]]);
  }
  assert.equal(session.report.structures[1].confidence[2], 0.5);
  assert.equal(session.redo(), null);
});

test('a stroke after an undo leaves nothing to be done again', () => {
  const { session, paint } = work();
  paint(0, [1, 0, 0]);
  session.undo();
  assert.equal(session.history.next.what, 'painting');
  paint(1, [1, 0, 0]);
  assert.equal(session.history.next, undefined);
});

test('a slice that is right counts as given, for what was propagated there, until that is taken back', () => {
  const { session, paint, shown } = work();
  paint(0, [1, 1, 0]);
  paint(0, [1, 1, 2]); // another structure, which was not propagated
  propagate(session);
  assert.deepEqual([session.openAt(0), session.openAt(2)], [[], [1]]);
  const before = shown();
  session.confirm(2);
  assert.deepEqual([session.touched.slices(1, 2), session.touched.slices(2, 2)], [[0, 2], [0]]);
  assert.deepEqual([session.openAt(2), shown()], [[], before]);
  session.confirm(2);
  assert.deepEqual([session.undo()].map(({ what, slice }) => [what, slice]), [['confirmation', 2]]);
  assert.deepEqual([session.touched.slices(1, 2), shown()], [[0], before]);
});

test('in another plane than the propagated one nothing is open', () => {
  const { session, paint } = work();
  paint(0, [1, 0, 0]);
  propagate(session);
  session.axis = 0;
  assert.deepEqual([session.openAt(2), session.structuresReport], [[], {}]);
});

test('of very many steps the oldest are forgotten', () => {
  const history = new History();
  const change = { voxels: new Uint32Array(2e7), before: new Uint8Array(2e7), after: new Uint8Array(2e7) };
  for (let n = 0; n < 3; n++) history.add({ what: `${n}`, change, before: {}, after: {}, part: null });
  assert.deepEqual(history.done.map(each => each.what), ['1', '2']);
  const small = { voxels: new Uint32Array(), before: new Uint8Array(), after: new Uint8Array() };
  for (let n = 0; n < 300; n++) history.add({ what: 'small', change: small, before: {}, after: {}, part: null });
  assert.equal(history.done.length, 200);
});

test('what was painted while the button was held is one step', async () => {
  const { labelmap, images } = labelmapOf(DIMS);
  const session = new Session({}, labelmap, () => {});
  const move = async pixels => {
    images[0].set(pixels);
    labelmap.apply({ voxels: [], after: [] }); // OHIF says that it changed
    await new Promise(resolve => setTimeout(resolve, 300));
  };
  pointer.down = true;
  await move([1, 0, 0]);
  await move([1, 1, 0]);
  assert.equal(session.history.done.length, 0);
  pointer.down = false;
  await move([1, 1, 1]);
  assert.deepEqual(session.history.done.map(each => each.change.voxels.length), [3]);
  session.stop();
});

test('nothing of a structure that was taken back and then deleted comes again', () => {
  const { session, paint, shown } = work();
  session.keepOnly(new Set([1, 2]));
  paint(0, [1, 0, 0]);
  paint(0, [1, 2, 0]);
  session.undo();
  session.keepOnly(new Set([1]));
  assert.equal(session.redo(), null);
  assert.equal(shown(), '100 000 000');
});

test('only what changes voxels is to be submitted', () => {
  const { session, paint } = work();
  paint(0, [1, 1, 0]);
  propagate(session);
  session.unsaved = false;
  session.confirm(2);
  session.undo();
  session.redo();
  assert.equal(session.unsaved, false);
  session.undo();
  session.undo();
  assert.equal(session.unsaved, true);
});

test('undo of a propagation brings back what had been looked at before it', () => {
  const { session, paint } = work();
  paint(0, [1, 0, 0]);
  propagate(session);
  session.seen.add(1).add(2);
  propagate(session);
  assert.deepEqual([...session.seen], []);
  session.undo();
  assert.deepEqual([...session.seen], [1, 2]);
});

test('of a structure that is deleted nothing comes back, and the strokes of the others do', () => {
  const { session, paint, shown } = work();
  session.keepOnly(new Set([1, 2]));
  paint(0, [1, 1, 0]);
  paint(0, [2, 1, 2]); // also over the first one
  paint(1, [0, 2, 0]); // of the second one alone
  paint(2, [1, 0, 0]);
  [0, 1].forEach(k => paint(k, k ? [0, 0, 0] : [0, 1, 0])); // as OHIF's menu deletes it
  session.keepOnly(new Set([1]));
  const states = [];
  while (session.history.last) {
    session.undo();
    states.push(shown());
  }
  assert.deepEqual(states, ['010 000 000', '110 000 000', '000 000 000']);
  while (session.history.next) session.redo();
  assert.deepEqual([shown(), session.given.slices(2, 2), session.given.slices(1, 2)], ['010 000 100', [], [0, 2]]);
});

test('a press is told before what it paints, the button is held until it is let go', () => {
  const listeners = {};
  globalThis.window = { addEventListener: (type, listener) => { listeners[type] = listener; }, removeEventListener() {} };
  const stop = watchPointer();
  const told = [];
  const end = onPress(target => told.push([target, pointer.down]));
  listeners.pointerdown({ type: 'pointerdown', buttons: 1, isPrimary: true, target: 'image' });
  listeners.pointerdown({ type: 'pointerdown', buttons: 1, isPrimary: false, target: 'a second finger' });
  assert.deepEqual([told, pointer.down], [[['image', false]], true]);
  listeners.pointerup({ type: 'pointerup', buttons: 0, isPrimary: true, target: 'image' });
  assert.equal(pointer.down, false);
  end();
  stop();
});
