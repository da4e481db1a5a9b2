import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

globalThis.window = { addEventListener() {}, removeEventListener() {} };
mock.method(console, 'error', () => {});
mock.method(console, 'warn', () => {});
const { later } = await import('./made_up.mjs');
const { pack, unpack } = await import('../../apps/slmsam2/ohif/packing.js');
const { pointer } = await import('../../apps/slmsam2/ohif/pointer.js');
const { Safe } = await import('../../apps/slmsam2/ohif/safe.js');
const { Store } = await import('../../apps/slmsam2/ohif/store.js');
const { filled } = await import('../../apps/slmsam2/ohif/touched.js');
const { visit } = await import('./visit.mjs');

const KEPT = 1300; // ms after a change until it is kept
const DAY = 24 * 3600 * 1000;

/** As IndexedDB keeps it: copies, without classes. */
class Shelf {
  constructor() {
    this.kept = new Map();
    this.now = () => Date.now();
  }

  async list() {
    return [...this.kept.values()].map(({ entry }) => entry);
  }

  async put(place, packed) {
    const entry = { ...place, at: this.now(), bytes: packed.runs.byteLength, title: packed.title };
    this.kept.set(`${place.page} ${place.id}`, { entry, packed: structuredClone(packed) });
  }

  async remove({ page, id }) {
    this.kept.delete(`${page} ${id}`);
  }

  async take(entries, page) {
    return entries.filter(each => this.kept.has(`${each.page} ${each.id}`)).map(each => {
      const { packed } = this.kept.get(`${each.page} ${each.id}`);
      this.kept.delete(`${each.page} ${each.id}`);
      const entry = { ...each, page };
      this.kept.set(`${page} ${each.id}`, { entry, packed });
      return { entry, packed: structuredClone(packed) };
    });
  }
}

/** Pages of one browser over one shelf; `open`: those that are still there. */
function browser(shelf = new Shelf()) {
  const open = new Set();
  const page = name => {
    open.add(name);
    return new Safe(shelf, { own: name, open: async () => new Set(open) });
  };
  return { shelf, page, crash: name => open.delete(name) };
}

/** A visit on whose first slice these pixels were painted, and kept. */
async function painted(safe, pixels) {
  const visited = await visit(new Map(), { safe });
  visited.images[0].set(pixels);
  visited.controller.session.notice();
  await visited.controller.guarding.now();
  return visited;
}

test('work is packed small, and comes out as it was', async () => {
  const labels = new Uint8Array(3 * 65536);
  labels.fill(7, 65530, 65600); // over a seam
  labels.set([1, 2, 2, 0, 1], 140000);
  const touched = filled(labels, [256, 256, 3]);
  const work = { id: 'a', labels, loaded: filled(new Uint8Array(8), [2, 2, 2]), touched, report: {}, axis: 2, seen: new Set([3]) };
  const packed = await pack(work);
  assert.ok(packed.runs.byteLength < 200);
  const back = await unpack(structuredClone(packed));
  assert.deepEqual(back.labels, labels);
  assert.deepEqual([back.touched.slices(7, 2), back.seen], [[0, 1], new Set([3])]);
  assert.equal(await pack({ ...work, labels: new Uint8Array(9) }), null);
});

test('what a page that crashed had not submitted comes back, and Undo takes it away', async () => {
  const { shelf, page, crash } = browser();
  const first = await visit(new Map(), { safe: page('first') });
  first.controller.renameStructure(1, 'liver');
  first.controller.addStructure('kidney');
  first.controller.colourStructure(2, [9, 8, 7, 255]);
  first.controller.activateStructure(2);
  first.images[1].set([2, 1]);
  first.controller.session.notice();
  first.controller.session.report = { axis: 2, structures: { 2: { value: 2, confidence: { 0: 0.5 }, painted: [1], gain: {} } } };
  await later(KEPT);
  crash('first');

  const again = await visit(new Map(), { safe: page('second'), server: { saveLabel: async () => {} } });
  const { controller } = again;
  assert.deepEqual(again.shown(), [0, 0, 2, 1]);
  assert.deepEqual(again.structures.map(({ name, active, color }) => [name, active, color]),
    [['liver', false, [0, 0, 0, 255]], ['kidney', true, [9, 8, 7, 255]]]);
  assert.deepEqual([controller.session.touched.slices(2, 2), controller.confidences], [[1], [{ slice: 0, confidence: 0.5 }]]);
  assert.match(controller.message.text, /^What you had painted on this series is back \(as of .+\)\. .*Undo takes it away\.$/);
  assert.deepEqual([controller.unsaved, (await shelf.list()).map(each => each.page)], [true, ['second']]);

  controller.undo();
  assert.deepEqual([again.shown(), controller.session.givenSlices()], [[0, 0, 0, 0], []]);
  await controller.guarding.now();
  assert.equal(shelf.kept.size, 0);
  controller.redo();
  assert.deepEqual([again.shown(), controller.session.givenSlices()], [[0, 0, 2, 1], [1, 1]]);
  await controller.guarding.now();
  assert.equal(shelf.kept.size, 1);

  await controller.saving.submit();
  await later(20);
  assert.equal(shelf.kept.size, 0);
  again.leave();
  first.leave();
});

test('two pages on one series keep each its own; a third one gets only what was left', async () => {
  const { shelf, page, crash } = browser();
  const one = await painted(page('one'), [1, 1]);
  const two = await visit(new Map(), { safe: page('two') });
  assert.deepEqual(two.shown(), [0, 0, 0, 0]);
  assert.match(two.controller.message.text, /^Another tab or window has painting on this series/);
  two.images[1].set([1, 0]);
  two.controller.session.notice();
  await two.controller.guarding.now();
  assert.deepEqual((await shelf.list()).map(each => each.page), ['one', 'two']);
  crash('two');
  const [three, four] = await Promise.all(['three', 'four'].map(name => visit(new Map(), { safe: page(name) })));
  const back = [three, four].map(({ segmentations }) => segmentations.flatMap(({ images }) => images.map(each => [...each])));
  assert.deepEqual(back.map(each => each.flat().join('')).sort(), ['0000', '0010']); // one of them has it, once
  one.images[0].set([0, 1]);
  one.controller.session.notice();
  await one.controller.guarding.now();
  assert.equal(shelf.kept.size, 2);
  [one, two, three, four].forEach(({ leave }) => leave());
});

test('one that was taken for gone loses nothing: it keeps its work on', async () => {
  const { shelf, page, crash } = browser();
  const frozen = await painted(page('frozen'), [1, 1]);
  crash('frozen');
  const other = await visit(new Map(), { safe: page('other') });
  assert.deepEqual(other.shown(), [1, 1, 0, 0]);
  frozen.images[1].set([1, 1]);
  frozen.controller.session.notice();
  await frozen.controller.guarding.now();
  assert.deepEqual((await shelf.list()).map(each => each.page).sort(), ['frozen', 'other']);
  [frozen, other].forEach(({ leave }) => leave());
});

test('what is left by OHIF\'s arrow stays kept until it is submitted; what Next sample leaves does not', async () => {
  const { shelf, page } = browser();
  const [kept, safe] = [new Map(), page('one')];
  const first = await visit(kept, { safe });
  first.images[0].set([1, 1]);
  first.leave();
  await later(100);
  assert.equal(shelf.kept.size, 1);
  const nextSample = async () => ({ id: '2', StudyInstanceUID: '1' });
  const again = await visit(kept, { safe, server: { nextSample } });
  assert.deepEqual(again.shown(), [1, 1, 0, 0]);
  globalThis.window.location = { search: '' };
  await again.controller.saving.nextSample();
  again.controller.saving.asked.at = -Infinity;
  await again.controller.saving.nextSample();
  assert.match(window.location.search, /SeriesInstanceUIDs=2/);
  assert.equal(shelf.kept.size, 0);
  again.leave();
});

test('nobody gets what somebody else, who signed in, has painted', async () => {
  const { page, crash } = browser();
  const as = annotator => ({ info: async () => ({ models: {}, labels: ['spleen'], annotator }) });
  const first = await visit(new Map(), { safe: page('one'), server: as('anna') });
  first.images[0].set([1, 1]);
  first.controller.session.notice();
  await first.controller.guarding.now();
  crash('one');
  const other = await visit(new Map(), { safe: page('two'), server: as('bert') });
  assert.deepEqual([other.shown(), other.controller.message.text], [[0, 0, 0, 0], '']);
  const again = await visit(new Map(), { safe: page('three'), server: as('anna') });
  assert.deepEqual(again.shown(), [1, 1, 0, 0]);
  [first, other, again].forEach(({ leave }) => leave());
});

test('nothing is kept during a stroke', async () => {
  const { shelf, page } = browser();
  const { controller, images, leave } = await visit(new Map(), { safe: page('one') });
  images[0].set([1, 1]);
  controller.session.notice();
  pointer.down = true;
  await later(KEPT);
  assert.equal(shelf.kept.size, 0);
  pointer.down = false;
  await later(KEPT);
  assert.equal(shelf.kept.size, 1);
  leave();
});

test('what was left of other series is told once, and comes back with its own', async () => {
  const { page, crash } = browser();
  const ct = { SeriesInstanceUID: '1.9', imageIds: [0, 1], Modality: 'CT', SeriesDescription: 'Thorax' };
  const first = await visit(new Map(), { safe: page('one'), series: ct });
  first.images[0].set([1, 1]);
  first.controller.session.notice();
  await first.controller.guarding.now();
  crash('one');
  const again = await visit(new Map(), { safe: page('two') });
  assert.deepEqual(again.shown(), [0, 0, 0, 0]);
  assert.match(again.controller.message.text, /^This browser keeps painting on other series .*: Thorax \(.+\)\. It comes back/);
  again.viewer.activeSeries = () => ct;
  again.viewer.active = null;
  await again.look();
  assert.match(again.controller.message.text, /^What you had painted on this series is back .*takes it away\.$/);
  assert.deepEqual(again.segmentations.at(-1).images.map(each => [...each]), [[1, 1], [0, 0]]);
  [first, again].forEach(({ leave }) => leave());
});

test('where the browser keeps nothing it is said once, and work goes on', async () => {
  for (const store of [new Store(undefined), new Store({ open: () => { throw new DOMException('no', 'SecurityError'); } })]) {
    const safe = new Safe(store, { own: 'one', open: async () => new Set() });
    const { controller, images, leave } = await visit(new Map(), { safe });
    images[0].set([1, 1]);
    controller.session.notice();
    assert.equal(controller.message.text, '');
    await later(KEPT);
    assert.deepEqual([controller.message.failed, controller.message.text.startsWith('This browser keeps no copy')], [true, true]);
    controller.say('');
    await controller.guarding.now();
    assert.deepEqual([controller.message.text, controller.guarding.pause], ['', 60000]);
    leave();
  }
});

test('what was submitted leaves also while there is no room for more', async () => {
  const { shelf, page } = browser();
  const server = { saveLabel: async () => {} };
  const { controller, viewer, segmentations, images, leave, look } = await visit(new Map(), { safe: page('one'), server });
  images[0].set([1, 1]);
  controller.session.notice();
  await controller.guarding.now();
  await viewer.addSegmentation(null, [{ value: 1, name: 'kidney' }], 'Second');
  await look();
  shelf.put = async () => { throw new DOMException('full', 'QuotaExceededError'); };
  segmentations[1].images[1].set([1, 0]);
  controller.session.notice();
  await controller.guarding.now();
  assert.equal(controller.message.failed, true);
  viewer.active = segmentations[0].id;
  await look();
  await controller.saving.submit();
  await later(20);
  assert.equal(shelf.kept.size, 0);
  leave();
});

test('what is damaged is said, goes away, and hinders nothing', async () => {
  const { shelf, page, crash } = browser();
  const first = await painted(page('one'), [1, 1]);
  crash('one');
  for (const { packed } of shelf.kept.values()) packed.runs = new ArrayBuffer(5);
  const again = await visit(new Map(), { safe: page('two') });
  assert.match(again.controller.message.text, /is damaged and could not be brought back/);
  await again.controller.guarding.now();
  assert.equal(shelf.kept.size, 0);
  [first, again].forEach(({ leave }) => leave());
});

test('old work is removed, and the oldest of what is too much', async () => {
  const { shelf, page } = browser();
  for (const [id, days, bytes] of [['new', 1, 10], ['large', 2, 2e8], ['older', 3, 10], ['old', 31, 10]]) {
    shelf.now = () => Date.now() - days * DAY;
    await shelf.put({ series: '1.2 2', annotator: 'anna', page: 'gone', id }, { runs: { byteLength: bytes } });
  }
  await page('one').tidy();
  assert.deepEqual((await shelf.list()).map(each => each.id), ['new']);
  shelf.now = () => Date.now() - 30 * DAY + 60000;
  await shelf.put({ series: '1.2 2', annotator: 'anna', page: 'gone', id: 'nearly' }, { runs: { byteLength: 10 } });
  await page('one').tidy();
  assert.equal(shelf.kept.size, 2);
});
