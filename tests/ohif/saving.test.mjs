import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

globalThis.window = { addEventListener() {}, removeEventListener() {}, location: { search: '' } };
mock.method(console, 'error', () => {});
const { visit } = await import('./visit.mjs');
const { hanging, later, niftiOf } = await import('./made_up.mjs');

/** A server that sends a saved label when it is told to. */
function sending(structures, values) {
  const server = {
    savedLabel: () => new Promise(resolve => {
      server.arrive = () => resolve({ file: niftiOf([2, 1, 2], values), structures });
    }),
  };
  return server;
}

test('a saved label goes into the segmentation it was asked for, under that one\'s names', async () => {
  const server = sending([{ name: 'tumour', id: 1 }], [1, 0, 0, 1]);
  const { controller, viewer, segmentations, leave, look } = await visit(new Map(), { server });
  const loading = controller.saving.load();
  await later();
  viewer.active = null; // the user goes on in another one while it comes
  await viewer.addSegmentation(null, [{ value: 1, name: 'a' }, { value: 2, name: 'b' }], 'Other');
  await look();
  server.arrive();
  await loading;
  leave();
  assert.deepEqual(segmentations.map(({ structures, images }) =>
    [structures.map(each => each.name), images.flatMap(pixels => [...pixels])]),
  [[['spleen', 'tumour'], [2, 0, 0, 2]], [['a', 'b'], [0, 0, 0, 0]]]);
});

test('a saved label comes in though no series is shown any more', async () => {
  const server = sending([{ name: 'spleen', id: 4 }, { name: 'tumour', id: 1 }], [1, 0, 0, 4]);
  const { controller, viewer, structures, leave, look, shown } = await visit(new Map(), { server });
  const loading = controller.saving.load();
  await later();
  viewer.activeSeries = () => null;
  await look();
  server.arrive();
  await loading;
  leave();
  assert.deepEqual([structures.map(each => each.name), shown()], [['spleen', 'tumour'], [2, 0, 0, 1]]);
});

test('what was taken back need not be submitted; what differs from the submitted label need', async () => {
  let arrive;
  const saveLabel = () => new Promise((...ends) => { arrive = ends; });
  const { controller, images, leave } = await visit(new Map(), { server: { saveLabel } });
  const { session } = controller;
  const paint = pixels => { images[0].set(pixels); session.notice(); };
  const after = action => { controller[action](); return controller.unsaved; };
  const undo = async () => { await controller.undo(); return controller.unsaved; };
  paint([1, 0]);
  assert.deepEqual([controller.unsaved, await undo(), after('redo')], [true, false, true]);

  const submitted = controller.saving.submit();
  await later();
  paint([1, 1]);
  arrive[0]();
  await submitted;
  assert.deepEqual([controller.unsaved, await undo(), await undo(), after('redo')], [true, false, true, false]);

  paint([0, 1]);
  const lost = controller.saving.submit();
  await later();
  arrive[1](new Error('The archive is full.'));
  await lost;
  assert.deepEqual([controller.unsaved, await undo()], [true, false]);
  leave();
});

test('until a label has arrived it counts as not submitted', async () => {
  let arrive;
  const saveLabel = () => new Promise(resolve => { arrive = resolve; });
  const { controller, images, leave } = await visit(new Map(), { server: { saveLabel } });
  images[0].set([1, 1]);
  const submitted = controller.saving.submit();
  const onItsWay = controller.unsaved;
  arrive();
  await submitted;
  assert.deepEqual([onItsWay, controller.unsaved], [true, false]);
  leave();
});

test('while a saved label is on its way nothing is propagated', async () => {
  let arrive;
  const savedLabel = () => new Promise(resolve => { arrive = () => resolve(null); });
  const { controller, images, leave } = await visit(new Map(), { server: { savedLabel, infer: () => assert.fail() } });
  images[1].set([1, 1]);
  controller.session.notice();
  controller.session.unsaved = false; // as after Submit
  const loading = controller.saving.load();
  await later();
  assert.equal(controller.canPropagate, false);
  await controller.propagate(); // the key
  assert.equal(controller.propagation, null);
  arrive();
  await loading;
  assert.equal(controller.canPropagate, true);
  leave();
});

test('of two presses of Next sample one counts, and the panel says what it does', async () => {
  let asked = 0;
  let arrive;
  const nextSample = () => new Promise(resolve => { asked += 1; arrive = () => resolve(null); });
  const { controller, leave } = await visit(new Map(), { server: { nextSample } });
  const first = controller.saving.nextSample();
  await later();
  assert.equal(controller.message.text, 'Looking for the next sample…');
  await controller.saving.nextSample();
  arrive();
  await first;
  assert.deepEqual([asked, controller.message.failed], [1, true]);
  leave();
});

test('a propagation is cancelled when the mode is left', async () => {
  const cancelled = [];
  const server = {
    infer: (model, uid, params, labels, signal) => hanging(signal), cancel: async id => { cancelled.push(id); },
  };
  const { controller, images, leave } = await visit(new Map(), { server });
  images[0].set([1, 1]);
  const propagated = controller.propagate();
  leave();
  await propagated;
  assert.equal(cancelled.length, 1);
});

test('a series that is opened while the server is away for a moment has its structures', async () => {
  let away = false;
  const info = async () => {
    if (away) throw Object.assign(new Error('gone'), { status: 0 });
    return { models: { slmsam2: {} }, labels: ['spleen', 'liver'] };
  };
  const { controller, viewer, segmentations, leave, look } = await visit(new Map(), { server: { info } });
  away = true;
  await controller.watching.look();
  assert.deepEqual([controller.canPropagate, controller.canSave, controller.watching.connected], [false, false, false]);
  viewer.active = null; // another series
  await look();
  assert.deepEqual(segmentations.at(-1).structures.map(each => each.name), ['spleen', 'liver']);
  leave();
});
