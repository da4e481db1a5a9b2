import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { Controller } from '../../apps/slmsam2/ohif/controller.js';
import { Session } from '../../apps/slmsam2/ohif/session.js';
import { hanging, labelmapOf, later, niftiOf } from './made_up.mjs';

const DIMS = [4, 1, 3];
const INFO = { models: { slmsam2: {}, slmsam2_slice: { type: 'deepgrow' } } };
mock.method(console, 'error', () => {});

/**
 * A controller in whose session points are placed, with a server that draws what is told.
 * @param {(labels: Uint8Array|null, signal: AbortSignal) => Promise<number[]>|number[]} answer voxels that the server draws
 */
function placing(answer) {
  let listener;
  globalThis.window = { addEventListener: (_, added) => { listener = added; }, removeEventListener() {} };
  const { labelmap, images } = labelmapOf(DIMS);
  const asked = [];
  const cancelled = [];
  const infer = async (model, uid, params, labels, signal) => {
    asked.push({ model, params, labels: labels && [...labels] });
    const file = niftiOf(DIMS);
    for (const voxel of await answer(labels, signal)) new Uint8Array(file, 352)[voxel] = 1;
    return { params: {}, file };
  };
  const shown = k => ({
    element: { contains: () => true, getBoundingClientRect: () => ({ left: 0, top: 0 }) },
    canvasToWorld: ([x]) => [x, 0, k],
    getCamera: () => ({ viewPlaneNormal: [0, 0, 1] }),
  });
  let slice = 1;
  let chooseTool;
  const controller = new Controller({
    hasSegmentation: () => true,
    structures: () => [{ value: 1, name: 'liver', active: true, color: [] }],
    viewportsOf: () => [shown(slice)],
    onTool: listener => { chooseTool = listener; return () => {}; },
  }, { infer, cancel: async id => { cancelled.push(id); } });
  controller.watching.info = INFO;
  const session = new Session({ SeriesInstanceUID: '1.2' }, labelmap, () => {});
  controller.session = session;
  controller.togglePoints();
  const press = (x, k, shiftKey) => {
    slice = k;
    listener({ button: 0, clientX: x, clientY: 0, shiftKey, stopPropagation() {}, preventDefault() {} });
  };
  const click = (x, k = 1, shiftKey = false) => {
    press(x, k, shiftKey);
    return controller.clicking.last;
  };
  const chosen = () => chooseTool();
  return { controller, session, asked, cancelled, click, chosen, slice: k => [...images[k]], paint: (k, values) => images[k].set(values) };
}

test('points correct what is painted on the slice, and undo brings it back', async () => {
  const { controller, session, asked, click, slice, paint } = placing(() => [4, 5]);
  paint(1, [1, 1, 1, 2]);
  await click(2, 1, true);
  assert.deepEqual(asked[0].labels, [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]);
  assert.deepEqual(slice(1), [1, 1, 0, 2]);
  controller.undo();
  assert.deepEqual([slice(1), session.touched.slices(1, 2)], [[1, 1, 1, 2], [1]]);
  assert.equal(controller.message.text, 'The last drawing by points (slice 1) was taken back.');
  session.stop();
});

test('what earlier points drew is not corrected but answered anew, and undone with them', async () => {
  const answers = [[4, 5, 6], [5]];
  const { controller, session, asked, click, slice } = placing(() => answers.shift());
  await click(0);
  await click(2, 1, true);
  assert.deepEqual(asked.map(each => each.labels), [null, null]);
  assert.deepEqual([asked[1].params.foreground, asked[1].params.background], [[[0, 0, 1]], [[2, 0, 1]]]);
  assert.deepEqual(slice(1), [0, 1, 0, 0]);
  controller.undo();
  assert.deepEqual(slice(1), [0, 0, 0, 0]);
  assert.equal(session.touched.byValue.size, 0); // an empty slice would mean: it is not here
  session.stop();
});

test('points placed again on a slice correct what the first ones drew', async () => {
  const answers = [[4, 5], [8], [4]];
  const { session, asked, click, slice } = placing(() => answers.shift());
  click(0, 1);
  click(0, 2);
  await click(3, 1, true); // before the others are answered
  assert.deepEqual(asked[2].labels, [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual([slice(1), slice(2)], [[1, 0, 0, 0], [1, 0, 0, 0]]);
  session.stop();
});

test('undo takes back points that are not answered yet, and nothing else; the next ones begin anew', async () => {
  let arrive;
  const answers = [[4], new Promise(resolve => { arrive = resolve; }), [6]];
  const { controller, session, asked, click, slice } = placing(() => answers.shift());
  await click(0);
  const late = click(1);
  assert.equal(controller.clicking.waiting, 1);
  await later(); // it is under way
  controller.undo();
  arrive([4, 5]);
  await late;
  assert.equal(controller.clicking.waiting, 0);
  assert.deepEqual(slice(1), [1, 0, 0, 0]);
  controller.undo();
  assert.deepEqual(slice(1), [0, 0, 0, 0]);
  await click(2);
  assert.deepEqual(asked[2].params.foreground, [[2, 0, 1]]);
  assert.deepEqual(slice(1), [0, 0, 1, 0]);
  session.stop();
});

test('what is painted while points are under way stays', async () => {
  let arrive;
  const { session, click, slice, paint } = placing(() => new Promise(resolve => { arrive = resolve; }));
  paint(1, [1, 0, 0, 0]);
  session.notice();
  const drawn = click(1);
  await later(); // it is under way
  paint(1, [1, 0, 0, 1]);
  arrive([5, 6]);
  await drawn;
  assert.deepEqual(slice(1), [0, 1, 1, 1]);
  session.stop();
});

test('a click without a structure says what is missing', async () => {
  const { controller, session, click } = placing(() => assert.fail());
  controller.viewer.structures = () => [];
  await click(0);
  await later();
  assert.equal(controller.message.text, 'Add a structure first.');
  session.stop();
});

test('what was painted since the points is taken back before them', async () => {
  const { controller, session, click, slice, paint } = placing(() => [4, 5]);
  await click(0);
  paint(1, [1, 1, 0, 1]);
  await click(0); // of the same points: a step of its own, as there was painting between
  assert.deepEqual(slice(1), [1, 1, 0, 0]);
  controller.undo();
  assert.deepEqual(slice(1), [1, 1, 0, 1]);
  controller.undo();
  assert.deepEqual([slice(1), session.touched.slices(1, 2)], [[1, 1, 0, 0], [1]]);
  controller.undo();
  assert.deepEqual([slice(1), session.touched.byValue.size], [[0, 0, 0, 0], 0]);
  session.stop();
});

test('what a propagation finds on a slice while points are under way gives way to what they draw', async () => {
  let arrive;
  const answers = [new Promise(resolve => { arrive = resolve; }), [5, 6]];
  const { session, asked, click, slice, paint } = placing(() => answers.shift());
  paint(0, [1, 1, 0, 0]);
  session.notice();
  const drawn = click(2);
  await later(); // it is under way
  const liver = { value: 1, painted: [0], first: 0, last: 2, confidence: { 1: 0.5 }, gain: { 1: 0.1 } };
  session.accept(new Uint8Array(12).fill(1), { axis: 2, ranges: new Map([[1, [0, 2]]]) }, { liver });
  paint(1, [1, 1, 1, 2]); // since then
  arrive([6]);
  await drawn;
  assert.deepEqual([slice(1), slice(2)], [[0, 0, 1, 2], [1, 1, 1, 1]]);
  await click(1); // of the same points
  assert.equal(asked[1].labels, null);
  assert.deepEqual(slice(1), [0, 1, 1, 2]);
  session.stop();
});

test('points and what was painted between them are taken back one after the other', async () => {
  const answers = [[4], [4, 5], [4, 5, 6]];
  const { controller, session, click, slice, paint } = placing(() => answers.shift());
  await click(0);
  paint(1, [1, 0, 0, 2]);
  await click(1);
  await click(2);
  assert.deepEqual(slice(1), [1, 1, 1, 2]);
  const states = [];
  while (controller.canUndo) {
    controller.undo();
    states.push(slice(1));
  }
  assert.deepEqual(states, [[1, 0, 0, 2], [1, 0, 0, 0], [0, 0, 0, 0]]);
  session.stop();
});

test('undo ends points though the server does not answer, and the next ones are drawn', async () => {
  const answers = [(_, signal) => hanging(signal), () => [6]];
  const { controller, session, asked, cancelled, click, slice } = placing((...sent) => answers.shift()(...sent));
  const drawn = click(0);
  await later(); // it is under way
  controller.undo();
  await drawn;
  assert.deepEqual([controller.clicking.waiting, cancelled], [0, [asked[0].params.request_id]]);
  assert.equal(controller.message.text, 'The last drawing by points was taken back.');
  await click(2);
  assert.deepEqual(slice(1), [0, 0, 1, 0]);
  session.stop();
});

test('points that wait are asked for under the names of their own series', async () => {
  const { controller, session, asked, click } = placing(() => [4]);
  click(0);
  const second = click(0, 2);
  const { structures } = controller.viewer;
  controller.viewer.structures = id => (id === 'a' ? structures() : [{ value: 1, name: 'tumour', active: true, color: [] }]);
  controller.session = { labelmap: { id: 'b' } }; // the user goes on in another viewport
  await second;
  assert.deepEqual(asked.map(each => each.params.label), ['liver', 'liver']);
  session.stop();
});

test('of points that wait on one slice only the last request is made', async () => {
  let arrive;
  const answers = [new Promise(resolve => { arrive = resolve; }), [4, 5, 6]];
  const { controller, session, asked, click, slice } = placing(() => answers.shift());
  click(0);
  await later(); // it is under way
  click(1);
  click(2);
  const last = click(3, 1, true);
  arrive([4]);
  await last;
  assert.deepEqual(asked.map(each => each.params.foreground.length), [1, 3]);
  assert.deepEqual([slice(1), controller.clicking.waiting], [[1, 1, 1, 0], 0]);
  session.stop();
});

test('points on a structure that is deleted meanwhile draw nothing', async () => {
  let arrive;
  const { controller, session, click, slice } = placing(() => new Promise(resolve => { arrive = resolve; }));
  const drawn = click(0);
  await later(); // it is under way
  controller.viewer.structures = () => [];
  arrive([4]);
  await drawn;
  assert.deepEqual(slice(1), [0, 0, 0, 0]);
  session.stop();
});

test('points end when a tool is chosen in OHIF\'s toolbar', () => {
  const { controller, session, chosen } = placing(() => assert.fail());
  const changes = mock.fn();
  controller.addEventListener('change', changes);
  chosen();
  assert.deepEqual([controller.clicking.active, changes.mock.callCount()], [false, 1]);
  session.stop();
});

test('a locked structure is not drawn, and the panel says so', async () => {
  let arrive;
  const { controller, session, asked, click, slice } = placing(() => new Promise(resolve => { arrive = resolve; }));
  const structure = { value: 1, name: 'liver', active: true, locked: false, color: [] };
  controller.viewer.structures = () => [structure];
  const drawn = click(0);
  await later(); // it is under way
  structure.locked = true;
  arrive([4]);
  await drawn;
  const sentence = "Locked in OHIF's segmentation tab: liver. Unlock it there first.";
  assert.deepEqual([slice(1), controller.message.text], [[0, 0, 0, 0], sentence]);
  controller.say('');
  await click(1);
  assert.deepEqual([asked.length, controller.message.text], [1, sentence]);
  session.stop();
});

test('Undo says that it takes back points that are not answered', async () => {
  const { controller, session, click, paint } = placing((_, signal) => hanging(signal));
  paint(0, [1, 0, 0, 0]);
  session.notice();
  assert.equal(controller.undoes, 'painting');
  click(0);
  assert.equal(controller.undoes, 'drawing by points');
  controller.undo();
  assert.equal(controller.undoes, 'painting');
  session.stop();
});
