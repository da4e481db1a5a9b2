import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

const asked = []; // what the page asks before it is left
globalThis.window = {
  addEventListener: (type, listener) => { if (type === 'beforeunload') asked.push(listener); },
  removeEventListener() {},
};
mock.method(console, 'error', () => {});
const { SERIES, visit } = await import('./visit.mjs');
const { running } = await import('../../apps/slmsam2/ohif/running.js');

test('painting that was not submitted comes back when its series is opened again', async () => {
  const kept = new Map();
  const first = await visit(kept);
  first.controller.renameStructure(1, 'liver');
  first.controller.addStructure('kidney');
  first.controller.colourStructure(2, [9, 8, 7, 255]);
  first.controller.activateStructure(2);
  first.images[1].set([2, 1]);
  first.leave(); // before the stroke was looked at
  assert.equal(kept.size, 1);

  const other = await visit(kept, { series: { SeriesInstanceUID: '1.3', imageIds: [0, 1] } });
  assert.deepEqual([other.shown(), other.controller.unsaved], [[0, 0, 0, 0], true]);
  other.leave();

  const again = await visit(kept);
  assert.deepEqual(again.shown(), [0, 0, 2, 1]);
  assert.deepEqual(again.structures.map(({ name, active }) => [name, active]), [['liver', false], ['kidney', true]]);
  assert.deepEqual(again.structures[1].color, [9, 8, 7, 255]);
  assert.deepEqual(again.controller.session.touched.slices(2, 2), [1]);
  assert.match(again.controller.message.text, /is back/);
  assert.deepEqual([kept.size, again.controller.unsaved], [0, true]);
  again.leave();
  assert.equal(kept.size, 1);
});

test('what was submitted does not come back', async () => {
  const kept = new Map();
  const { controller, images, leave } = await visit(kept, { server: { saveLabel: async () => {} } });
  images[0].set([1, 1]);
  await controller.saving.submit();
  leave();
  assert.equal(kept.size, 0);
});

test('of a label that was left on its way to the server it counts whether it arrives', async () => {
  for (const [arrives, left] of [[true, 0], [false, 1]]) {
    let end;
    const saveLabel = () => new Promise((resolve, reject) => { end = arrives ? resolve : () => reject(new Error('full')); });
    const kept = new Map();
    const { controller, images, leave } = await visit(kept, { server: { saveLabel } });
    images[0].set([1, 1]);
    const submitted = controller.saving.submit();
    leave();
    assert.equal(kept.size, 1);
    end();
    await submitted;
    assert.equal(kept.size, left);
  }
});

test('the page asks before it is left with painting that was not submitted', () => {
  const prevented = mock.fn();
  const ask = () => asked.forEach(listener => listener({ preventDefault: prevented }));
  ask();
  assert.equal(prevented.mock.callCount(), 0);
  running.state.controller = { unsaved: true };
  ask();
  assert.equal(prevented.mock.callCount(), 1);
  running.state.controller = null;
});

test('of a deleted structure nothing is left for the next one of its value', async () => {
  const sent = [];
  const infer = async (_, uid, params) => { sent.push(params); throw new Error('enough'); };
  const { controller, images, leave, look, structures } = await visit(new Map(), { server: { infer } });
  images[0].set([1, 1]);
  controller.session.notice();
  const spleen = { value: 1, painted: [0], confidence: { 1: 0.5 }, gain: { 1: 0.5 } };
  controller.session.report = { axis: 2, structures: { spleen } };
  images[0].set([0, 0]); // as OHIF's menu does it
  structures.pop();
  await look();
  assert.deepEqual([controller.session.givenSlices(), controller.confidences, controller.canUndo], [[], [], false]);
  controller.addStructure('kidney');
  images[1].set([1, 0]);
  await controller.propagate();
  assert.deepEqual(sent[0].prompt_slices, { kidney: { 2: [1] } });
  leave();
});

test('two segmentations of a series that were not submitted both come back', async () => {
  const kept = new Map();
  const first = await visit(kept);
  first.images[0].set([1, 1]);
  await first.viewer.addSegmentation(null, [{ value: 3, name: 'kidney' }], 'Second');
  await first.look();
  first.segmentations[1].images[1].set([3, 0]);
  first.leave();
  const again = await visit(kept);
  assert.deepEqual(again.segmentations.map(({ name, structures, images }) =>
    [name, structures.map(each => each.name), images.flatMap(pixels => [...pixels])]),
  [['SLM-SAM 2', ['spleen'], [1, 1, 0, 0]], ['Second', ['kidney'], [0, 0, 3, 0]]]);
  assert.deepEqual([kept.size, again.controller.following.sessions.size], [0, 2]);
  again.leave();
  assert.equal(kept.get('1.2 2').length, 2);
});

test('at the switch and at Submit it is said which segmentation of the series is not submitted', async () => {
  const server = { saveLabel: async () => {} };
  const { controller, viewer, segmentations, images, leave, look } = await visit(new Map(), { server });
  images[0].set([1, 1]);
  controller.session.notice();
  viewer.active = null; // OHIF shows nothing for a moment
  await viewer.addSegmentation(null, [{ value: 1, name: 'kidney' }], 'Opened');
  await look();
  const others = "Not submitted of this series: 'SLM-SAM 2'. To go on with it, choose it in OHIF's segmentation tab.";
  assert.equal(controller.message.text, `The panel is on 'Opened' now. ${others}`);
  segmentations[1].images[0].set([1, 0]);
  await controller.saving.submit();
  assert.equal(controller.message.text, `Submitted: kidney. ${others}`);
  viewer.active = segmentations[0].id;
  await look();
  assert.equal(controller.message.text, "The panel is on 'SLM-SAM 2' now.");
  leave();
});

test('what was said is over when the user paints', async () => {
  const { controller, images, leave } = await visit(new Map(), { server: { saveLabel: async () => {} } });
  images[0].set([1, 1]);
  await controller.saving.submit();
  assert.equal(controller.message.text, 'Submitted: spleen.');
  images[1].set([1, 1]);
  controller.session.notice();
  assert.equal(controller.message.text, '');
  leave();
});

/** Let OHIF drop the label images of a segmentation, as its full cache does. */
function dropImages({ cornerstone: { cache } }, id) {
  const { getImage } = cache;
  cache.getImage = image => (image[0] === id ? undefined : getImage(image));
}

test('work whose label images OHIF has dropped takes no other work with it, and is kept as it was seen last', async () => {
  const kept = new Map();
  const first = await visit(kept);
  first.images[0].set([1, 1]);
  first.controller.session.notice();
  await first.viewer.addSegmentation(null, [{ value: 1, name: 'kidney' }], 'Second');
  await first.look();
  first.segmentations[1].images[1].set([1, 0]);
  dropImages(first.viewer, 'segmentation 0');
  first.leave();
  assert.deepEqual(kept.get('1.2 2').map(({ name, labels }) => [name, [...labels]]),
    [['SLM-SAM 2', [1, 1, 0, 0]], ['Second', [0, 0, 1, 0]]]);
});

test('work whose label images OHIF has dropped comes back when its series is opened', async () => {
  const { controller, viewer, images, segmentations, leave, look } = await visit(new Map());
  images[0].set([1, 1]);
  controller.session.notice();
  dropImages(viewer, 'segmentation 0');
  viewer.activeSeries = () => ({ SeriesInstanceUID: '1.3', imageIds: [0, 1] });
  viewer.active = null;
  await look();
  assert.deepEqual([controller.following.kept.size, controller.unsaved], [1, true]);
  viewer.activeSeries = () => SERIES;
  await look();
  assert.match(controller.message.text, /is back/);
  assert.deepEqual(segmentations.at(-1).images.map(pixels => [...pixels]), [[1, 1], [0, 0]]);
  assert.equal(controller.following.kept.size, 0);
  leave();
});

test('a series whose label images are gone hinders no Next sample', async () => {
  const nextSample = async () => ({ id: '2', StudyInstanceUID: '1' });
  const { controller, viewer, leave } = await visit(new Map(), { server: { nextSample } });
  dropImages(viewer, 'segmentation 0');
  globalThis.window.location = { search: '' };
  await controller.saving.nextSample();
  assert.match(window.location.search, /SeriesInstanceUIDs=2/);
  leave();
});
