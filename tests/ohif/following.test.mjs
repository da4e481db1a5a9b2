import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

globalThis.window = { addEventListener() {}, removeEventListener() {} };
mock.method(console, 'error', () => {});
const { Controller } = await import('../../apps/slmsam2/ohif/controller.js');
const { Labelmap } = await import('../../apps/slmsam2/ohif/labelmap.js');
const { hint } = await import('../../apps/slmsam2/ohif/part-message.js');
const { labelmapOf, screenOf } = await import('./made_up.mjs');
const { pointer } = await import('../../apps/slmsam2/ohif/pointer.js');
const { Session } = await import('../../apps/slmsam2/ohif/session.js');
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

test('the server is told of each series that is opened, and one that does not know it is no trouble', async () => {
  mock.method(console, 'warn', () => {});
  const told = [];
  const opened = async uid => { told.push(uid); throw new Error('There is no such image.'); };
  const { controller, viewer, leave, look } = await visit(new Map(), { server: { opened } });
  await look();
  viewer.activeSeries = () => ({ SeriesInstanceUID: '1.3', imageIds: [0, 1] });
  viewer.active = null;
  await look();
  assert.deepEqual([told, controller.message.text], [['1.2', '1.3'], '']);
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

/** Pixels of 6 x 4 x 8 voxels that are painted in viewports whose planes have these normals. */
async function painting() {
  const dims = [6, 4, 8];
  const { labelmap, images } = labelmapOf(dims);
  const visited = await visit(new Map());
  const { controller, viewer } = visited;
  const session = new Session(controller.session.series, labelmap, isTurned => said.push(Boolean(isTurned)));
  const said = [];
  controller.following.sessions.set('a', session);
  viewer.viewportsOf = () => Object.values(NORMALS).map(viewPlaneNormal => ({
    element: { contains: target => NORMALS[target] === viewPlaneNormal }, getCamera: () => ({ viewPlaneNormal }),
  }));
  const press = on => pointer.dispatchEvent(Object.assign(new Event('press'), { on }));
  const paint = (...voxels) => {
    for (const [i, j, k] of voxels) images[k][i + dims[0] * j] = 1;
    labelmap.apply({ voxels: [], after: [] }); // OHIF says that it changed
  };
  return { ...visited, session, said, press, paint };
}

const NORMALS = { axial: [0, 0, -1], sagittal: [1, 0, 0], coronal: [0, 0.9999, 0.01], turned: [0.93, 0, 0.37] };

test('two quick strokes on neighbouring slices are two', async () => {
  const { session, press, paint, leave } = await painting();
  press('sagittal');
  paint([2, 1, 2], [2, 2, 3]);
  press('sagittal');
  paint([3, 1, 2], [3, 2, 3]);
  session.notice();
  assert.deepEqual([session.touched.slices(1, 0), session.touched.slices(1, 2)], [[2, 3], []]);
  assert.equal(session.history.done.length, 2);
  leave();
});

test('a stroke that is thin along several axes lies on a slice of the plane it was painted in', async () => {
  const { session, press, paint, leave } = await painting();
  press('coronal');
  paint([1, 2, 3], [2, 2, 3], [3, 2, 3]); // one row: slices are thick
  session.notice();
  assert.deepEqual([1, 2].map(axis => session.touched.slices(1, axis)), [[2], []]);
  press('panel'); // of which nothing is known
  paint([1, 0, 5], [2, 0, 5]);
  session.notice();
  assert.deepEqual([1, 2].map(axis => session.touched.slices(1, axis)), [[2], [5]]);
  leave();
});

test('a stroke that crosses slices in a turned plane makes none the user\'s, and the panel says so', async () => {
  const { controller, session, said, press, paint, leave } = await painting();
  press('turned');
  paint([1, 1, 1], [1, 2, 3], [2, 1, 4]);
  session.notice();
  assert.deepEqual([session.touched.byValue.size, session.unsaved, said], [0, true, [true]]);
  session.undo();
  assert.equal(session.known.some(value => value), false);
  press('axial');
  paint([1, 1, 1]);
  session.notice();
  assert.deepEqual([session.touched.slices(1, 2), said], [[1], [true, false]]);
  press('turned');
  paint([3, 1, 2], [3, 2, 5]); // hardly turned, or a small stroke
  session.notice();
  assert.deepEqual([session.touched.slices(1, 0), said], [[3], [true, false, false]]);
  press('turned');
  controller.session.labelmap.apply({ voxels: [0, 1], after: [1, 1] });
  controller.session.notice();
  assert.match(controller.message.text, /^This plane is turned/);
  leave();
});
