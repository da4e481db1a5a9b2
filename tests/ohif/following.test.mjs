import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

globalThis.window = { addEventListener() {}, removeEventListener() {} };
mock.method(console, 'error', () => {});
const { Controller } = await import('../../apps/slmsam2/ohif/controller.js');
const { Labelmap } = await import('../../apps/slmsam2/ohif/labelmap.js');
const { hint } = await import('../../apps/slmsam2/ohif/part-message.js');
const { screenOf } = await import('./made_up.mjs');
const { visit } = await import('./visit.mjs');

test('where a series cannot be opened the panel does not go on with the one before', async () => {
  const { controller, viewer, images, leave, look } = await visit(new Map());
  images[0].set([1, 1]);
  viewer.activeSeries = () => ({ SeriesInstanceUID: '9', imageIds: [0] });
  viewer.segmentationOf = async () => { throw new Error('These images are no volume.'); };
  await look();
  assert.deepEqual([controller.session, controller.canPropagate], [null, false]);
  assert.deepEqual(controller.message, { text: 'These images are no volume.', failed: true });
  controller.following.sessions.forEach(session => session.notice());
  assert.equal(controller.unsaved, true);
  leave();
});

test('a series of images of two sizes is refused with a sentence', () => {
  const { add, cornerstone, tools } = screenOf([4, 4, 2]);
  add('a');
  const { get } = cornerstone.metaData;
  cornerstone.metaData.get = (type, k) => ({ ...get(type, k), columns: k ? 4 : 5 }); // with its scout
  assert.throws(() => new Labelmap('a', cornerstone, tools), /The images of this series differ in size/);
});

test('the slice to go up to is that of one series', async () => {
  const { controller, viewer, leave, look } = await visit(new Map());
  controller.choice = { scope: 'active', direction: 'forward', limit: 7 };
  await look();
  assert.equal(controller.choice.limit, 7);
  viewer.activeSeries = () => ({ SeriesInstanceUID: '1.3', imageIds: [0, 1] });
  viewer.active = null;
  await look();
  assert.deepEqual(controller.choice, { scope: 'active', direction: 'forward', limit: null });
  leave();
});

test('a server that does not answer holds up the first series for five seconds', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  let asked = 0;
  const viewer = {
    onChange: () => () => {}, activeSeries: () => ({ SeriesInstanceUID: '1', imageIds: [] }), viewportsOf: () => [{}],
    segmentationOf: async () => { asked += 1; return null; },
  };
  const controller = new Controller(viewer, { info: () => new Promise(() => {}) });
  controller.start();
  const counts = [];
  for (const ms of [100, 4800, 200]) {
    mock.timers.tick(ms);
    await new Promise(resolve => setImmediate(resolve));
    counts.push([asked, hint(controller)]);
  }
  mock.timers.reset();
  const begin = 'Open a series of images in a viewport to begin.';
  assert.deepEqual(counts, [[0, 'Connecting…'], [0, 'Connecting…'], [1, begin]]);
});
