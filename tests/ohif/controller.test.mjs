import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { Controller } from '../../apps/slmsam2/ohif/controller.js';
import { Session } from '../../apps/slmsam2/ohif/session.js';
import { hanging, labelmapOf, later, niftiOf } from './made_up.mjs';

globalThis.window = { location: { search: '' } };
mock.method(console, 'error', () => {});
mock.method(console, 'warn', () => {});
let now = 1e6;
let pause = 1000; // ms between presses
mock.method(Date, 'now', () => { now += pause; return now; });

/** What the server answers when it finds value 1 on all voxels. */
function foundEverywhere(dims) {
  const file = niftiOf(dims);
  new Uint8Array(file, 352).fill(1);
  const liver = { value: 1, painted: [1], first: 0, last: dims[2] - 1, confidence: { 0: 0.5 }, gain: { 0: 0.1 } };
  return { params: { report: { structures: { liver } }, latencies: { total: 1 } }, file };
}

/** A controller with a session on which value 1 is painted, and a server that notes what it is asked. */
function controllerWith(server = {}, session = {}) {
  const structures = [{ value: 1, name: 'liver', active: true, color: [1, 2, 3, 255] }];
  const controller = new Controller({ structures: () => structures, hasSegmentation: () => true }, {
    info: async () => ({ models: { slmsam2: {} }, strategies: { random: {} } }),
    ...server,
  });
  controller.watching.info = { models: { slmsam2: {} }, strategies: { random: {} } };
  controller.session = {
    uid: '1.2', series: { SeriesInstanceUID: '1.2', imageIds: [0] }, labelmap: { id: 'a' }, known: Uint8Array.of(0, 1),
    history: { last: undefined, next: undefined }, unsaved: true, notice() {}, settle() { this.unsaved = false; }, ...session,
  };
  controller.following.sessions.set('a', controller.session);
  controller.watching.stopped = true; // no looks at the server by itself
  return controller;
}

test('what cannot work is off', () => {
  const controller = controllerWith();
  assert.deepEqual([controller.canPropagate, controller.canUndo, controller.canSave], [true, false, true]);
  controller.propagation = {};
  controller.session.history.last = { what: 'painting' };
  assert.deepEqual([controller.canPropagate, controller.canUndo, controller.canSave], [false, false, false]);
  controller.propagation = null;
  assert.equal(controller.canUndo, true);
  controller.watching.info = null;
  assert.deepEqual([controller.canPropagate, controller.canSave], [false, false]);
});

test('on a slice those structures come first that are to be looked at, under the names that they have now', () => {
  const { labelmap, images } = labelmapOf([2, 1, 3], 'b');
  const session = new Session({ SeriesInstanceUID: '1.2' }, labelmap, () => {});
  images[1].set([3, 0]);
  session.notice();
  const of = (value, confidence) => ({ value, painted: [1], confidence, gain: {} });
  session.report = { axis: 2, structures: { 1: of(1, { 1: 0.9, 2: 0.4 }), 2: of(2, { 1: 0.5 }), 3: of(3, { 1: 0.7, 2: 0.8 }) } };
  const controller = controllerWith();
  controller.session = session;
  controller.viewer.structures = () => ['liver', 'spleen', 'kidney', 'new'].map((name, n) => ({ value: n + 1, name }));
  const at = slice => controller.standingAt(slice).map(({ name, confidence }) => [name, confidence]);
  assert.deepEqual(at(1), [['spleen', 0.5], ['liver', 0.9], ['kidney', null]]);
  assert.deepEqual([at(2), at(0)], [[['liver', 0.4], ['kidney', 0.8]], []]);
});

test('the next structure and the one before are chosen, round and round', () => {
  const controller = controllerWith();
  let active = 5;
  controller.viewer.structures = () => [2, 5, 9].map(value => ({ value, active: value === active }));
  controller.viewer.activateStructure = (_, value) => { active = value; };
  const chosen = [1, 1, -1, -1, -1].map(by => { controller.stepStructure(by); return active; });
  assert.deepEqual(chosen, [9, 2, 9, 5, 2]);
  controller.viewer.structures = () => [];
  controller.stepStructure(1);
  assert.equal(active, 2);
});

test('the brush grows and shrinks within its bounds, and there and back is the same size', () => {
  const controller = controllerWith();
  const set = [];
  controller.viewer.setBrushRadius = radius => set.push(radius);
  [1, 1, -1, -1].forEach(by => controller.stepBrush(by));
  assert.deepEqual(set, [17, 19, 17, 15]);
  for (let n = 0; n < 40; n++) controller.stepBrush(1);
  assert.equal(controller.brush.radius, 60);
  for (let n = 0; n < 60; n++) controller.stepBrush(-1);
  assert.equal(controller.brush.radius, 1);
  controller.session = null;
  controller.stepBrush(1);
  assert.equal(controller.brush.radius, 1);
});

test('undo with nothing to undo says nothing', () => {
  const controller = controllerWith({}, { undo: () => assert.fail() });
  controller.undo();
  assert.equal(controller.message.text, '');
});

test('a label is on its way once, and painting meanwhile counts as unsaved', async () => {
  let arrive;
  const sent = [];
  const saveLabel = (...args) => new Promise(resolve => { sent.push(args); arrive = resolve; });
  const controller = controllerWith({ saveLabel });
  const submitted = controller.saving.submit();
  assert.equal(controller.canSave, false);
  await controller.saving.submit();
  assert.equal(sent.length, 1);
  assert.deepEqual(sent[0][2], [{ name: 'liver', id: 1, color: [1, 2, 3] }]);
  controller.session.unsaved = true; // a stroke
  arrive();
  await submitted;
  assert.equal(controller.message.text, 'Submitted: liver.');
  assert.deepEqual([controller.unsaved, controller.canSave], [true, true]);
});

test('a label that did not arrive is still unsaved', async () => {
  const controller = controllerWith({ saveLabel: async () => { throw new Error('The archive is full.'); } });
  await controller.saving.submit();
  assert.deepEqual([controller.message, controller.unsaved], [{ text: 'The archive is full.', failed: true }, true]);
});

test('unsaved painting is left behind only by a second press, and a double click is one', async () => {
  let asked = 0;
  const nextSample = async () => { asked += 1; return { id: '1.3', StudyInstanceUID: '1' }; };
  const controller = controllerWith({ nextSample });
  await controller.saving.nextSample();
  assert.match(controller.message.text, /not submitted/);
  pause = 100;
  await controller.saving.nextSample();
  assert.equal(asked, 0);
  assert.match(controller.message.text, /not submitted/);
  pause = 60_000; // the question is still shown
  await controller.saving.nextSample();
  pause = 1000;
  assert.equal(asked, 1);
  assert.equal(window.location.search, 'StudyInstanceUIDs=1&SeriesInstanceUIDs=1.3');
});

test('a question is over when something else is said', async () => {
  const controller = controllerWith({ nextSample: () => assert.fail(), train: async () => {} });
  await controller.saving.nextSample();
  await controller.train();
  assert.match(controller.message.text, /Training/);
  await controller.saving.nextSample();
  assert.match(controller.message.text, /not submitted/);
});

test('structures of one name, or none, are neither propagated nor submitted', async () => {
  const controller = controllerWith({ infer: () => assert.fail(), saveLabel: () => assert.fail() });
  const twice = [1, 2].map(value => ({ value, name: 'liver', active: false, color: [] }));
  for (const [structures, sentence] of [[twice, /^Two structures are called 'liver'/], [[], /^Add a structure first/]]) {
    controller.viewer.structures = () => structures;
    for (const scope of ['all', 'active']) {
      controller.choice = { ...controller.choice, scope };
      await controller.propagate();
      assert.match(controller.message.text, sentence);
    }
    await controller.saving.submit();
    assert.match(controller.message.text, sentence);
  }
});

/** A controller on whose label map of 2 x 1 x 2 voxels something is painted; the server has another label of it. */
function controllerToLoad(server = {}) {
  const { labelmap, images } = labelmapOf([2, 1, 2]);
  const session = new Session({ SeriesInstanceUID: '1.2', imageIds: [0, 1] }, labelmap, () => {});
  session.stop(); // it is looked at when something is done with it
  images[0].set([1, 0]);
  session.notice();
  const file = niftiOf([2, 1, 2]);
  new Uint8Array(file, 352).set([0, 0, 1, 1]);
  const savedLabel = async () => ({ file, structures: [{ name: 'liver', id: 1 }] });
  const controller = controllerWith({ savedLabel, ...server });
  controller.session = session;
  controller.following.sessions.set('a', session);
  return { controller, session, images, shown: () => images.flatMap(pixels => [...pixels]) };
}

test('a saved label takes the place of unsaved painting only by a second press, and undo brings it back', async () => {
  const { controller, session, images, shown } = controllerToLoad();
  await controller.saving.load();
  assert.match(controller.message.text, /not submitted.*Load saved again/);
  assert.deepEqual(shown(), [1, 0, 0, 0]);
  await controller.saving.nextSample(); // asks its own question
  assert.match(controller.message.text, /Next sample again/);
  await controller.saving.load();
  await controller.saving.load();
  assert.deepEqual([shown(), controller.message.text], [[0, 0, 1, 1],
    'Loaded: liver. These slices count as yours: Propagate fills only the others.']);
  assert.deepEqual([controller.unsaved, session.touched.byValue.size], [false, 0]);
  assert.deepEqual(session.given.slices(1, 2), [1]);
  images[1].set([0, 1]); // erased by hand since
  controller.undo();
  assert.deepEqual(shown(), [0, 0, 1, 1]);
  assert.equal(controller.message.text, 'The last painting (slice 1) was taken back.');
  controller.undo();
  assert.deepEqual(shown(), [1, 0, 0, 0]);
  assert.deepEqual([session.given.slices(1, 2), controller.unsaved], [[0], true]);
  assert.equal(controller.message.text, 'The last loading was taken back.');
  controller.redo();
  assert.deepEqual([shown(), session.given.slices(1, 2)], [[0, 0, 1, 1], [1]]);
  assert.equal(controller.message.text, 'The loading is back.');
});

test('of a loaded structure a correction and Propagate change only the slices on which it is not', async () => {
  const sent = [];
  const infer = async (_, uid, params) => { sent.push(params); return foundEverywhere([2, 1, 2]); };
  const { controller, session, images, shown } = controllerToLoad({ infer });
  session.unsaved = false;
  await controller.saving.load();
  await controller.propagate();
  assert.match(controller.message.text, /^Paint liver on one slice first, or correct a slice/); // it is finished
  images[1].set([0, 1]); // corrected
  await controller.propagate();
  assert.deepEqual(sent[0].prompt_slices, { liver: { 2: [1] } });
  assert.deepEqual(shown(), [1, 1, 0, 1]);
  images[1].set([0, 0]); // "not here"
  session.notice();
  images[0].set([1, 0]);
  await controller.propagate();
  assert.deepEqual([sent[1].prompt_slices, shown()], [{ liver: { 2: [0, 1] } }, [1, 0, 0, 0]]);
});

test('undo of a propagation brings the confidence of the one before back', async () => {
  const { controller, session } = controllerToLoad({ infer: async () => foundEverywhere([2, 1, 2]) });
  const liver = { value: 1, painted: [0], first: 0, last: 1, confidence: { 1: 0.25 }, gain: { 1: 0.1 } };
  const before = { axis: 2, structures: { liver } };
  session.report = before;
  await controller.propagate();
  assert.deepEqual(controller.confidences.map(each => each.confidence), [0.5]);
  controller.undo();
  assert.equal(session.report, before);
});

test('a cancel ends the propagation at once, and the server is told again in case it did not know of it yet', async () => {
  const cancelled = [];
  const sent = [];
  const { controller, shown } = controllerToLoad({
    infer: (model, uid, params, labels, signal) => { sent.push(params.request_id); return hanging(signal); },
    progress: async () => null,
    cancel: async id => { cancelled.push(id); throw new Error('The server does not answer.'); },
  });
  const propagated = controller.propagate();
  await controller.cancel();
  await propagated;
  assert.deepEqual([controller.propagation, controller.canSave, controller.canUndo], [null, true, true]);
  assert.match(controller.message.text, /was cancelled. Nothing has changed/);
  await later(500);
  assert.deepEqual([cancelled, shown()], [[sent[0], sent[0]], [1, 0, 0, 0]]);
});

test('a result that arrives as it is cancelled does not come in', async () => {
  const { controller, shown } = controllerToLoad({
    infer: async () => { controller.cancel(); return foundEverywhere([2, 1, 2]); },
    cancel: async () => {},
  });
  await controller.propagate();
  assert.match(controller.message.text, /was cancelled. Nothing has changed/);
  assert.deepEqual(shown(), [1, 0, 0, 0]);
});

test('a segmentation that holds something when its work begins is given as well', async () => {
  const { labelmap, images } = labelmapOf([2, 1, 2]);
  images[1].set([1, 1]);
  const session = new Session({}, labelmap, () => {});
  session.stop();
  assert.deepEqual([session.given.slices(1, 2), session.givenSlices(), session.unsaved], [[1], [1], false]);
});

test('what is painted while a saved label is on its way is asked about', async () => {
  const { controller, session, images, shown } = controllerToLoad();
  session.unsaved = false;
  const { savedLabel } = controller.server;
  controller.server.savedLabel = async () => { images[1].set([1, 0]); return savedLabel(); };
  await controller.saving.load();
  assert.match(controller.message.text, /Load saved again/);
  assert.deepEqual(shown(), [1, 0, 1, 0]);
  await controller.saving.load();
  assert.deepEqual(shown(), [0, 0, 1, 1]);
});

test('a yes holds for one loading', async () => {
  const { controller, images } = controllerToLoad();
  await controller.saving.load();
  await controller.saving.load();
  images[0].set([1, 1]);
  await controller.saving.load();
  assert.match(controller.message.text, /Load saved again/);
});

test('why there is no connection is said, and the last word counts', async () => {
  const controller = controllerWith({ info: async () => { throw Object.assign(new Error('Log in first.'), { status: 401 }); } });
  await controller.train();
  assert.deepEqual([controller.canSave, controller.watching.lost], [false, 'Log in first.']);
  controller.server.info = async () => { throw Object.assign(new Error('gone'), { status: 0 }); };
  await controller.train();
  assert.match(controller.watching.lost, /does not answer/);
  controller.server.info = async () => ({ models: {} });
  await controller.train();
  assert.equal(controller.watching.lost, null);
});

test('the next slice to check is one of the plane that was propagated, and confirming it shows the one after', async () => {
  const shown = [];
  let isMpr = false;
  const infer = async () => {
    const { params, file } = foundEverywhere([2, 1, 4]);
    Object.assign(params.report.structures.liver, {
      painted: [0], confidence: { 1: 0.9, 2: 0.8, 3: 0.2 }, gain: { 1: 0.1, 2: 0.3, 3: 0.4 },
      suggested_across: { axis: 0, slice: 1 },
    });
    return { params, file };
  };
  const { labelmap, images } = labelmapOf([2, 1, 4]);
  const session = new Session({ SeriesInstanceUID: '1.2', imageIds: [0, 1] }, labelmap, () => {});
  session.stop();
  const controller = controllerWith({ infer });
  controller.session = session;
  controller.viewer.showSlice = (series, grid, axis, slice) => isMpr || axis === 2 ? shown.push([axis, slice]) > 0 : false;
  controller.viewer.currentSlice = () => shown.at(-1)[1];
  controller.nextToCheck();
  assert.deepEqual([shown, controller.canCheck], [[], false]); // nothing was propagated yet
  images[0].set([1, 1]);
  await controller.propagate();
  session.axis = 0; // the last stroke was in another plane
  assert.deepEqual(controller.confidences, []);
  controller.nextToCheck();
  assert.deepEqual([shown, controller.canConfirm], [[[2, 3]], true]);
  assert.equal(controller.message.text, 'liver, 20 % sure: correct it, or press Slice is right.');
  isMpr = true;
  session.seen.clear();
  controller.nextToCheck();
  assert.deepEqual(shown.splice(1), [[2, 3], [0, 1]]);
  assert.match(controller.message.text, /press Slice is right\. Or correct it on the sagittal slice 1, which shows where it ends\.$/);
  controller.confirmSlice();
  assert.deepEqual([session.touched.slices(1, 2), shown.at(-1)], [[0, 3], [2, 2]]);
  assert.match(controller.message.text, /^Slice 3 is yours: liver. liver, 80 % sure: correct/);
  controller.confirmSlice();
  images[1].set([0, 0]); // as if it had not been found there
  session.known.set([0, 0], 2);
  controller.session.seen.delete(1);
  controller.nextToCheck();
  assert.equal(controller.message.text, 'No liver found, 90 % sure: paint it, or press Slice is right.');
  controller.confirmSlice();
  assert.deepEqual(session.touched.slices(1, 2), [0, 1, 2, 3]);
  assert.equal(controller.message.text, 'Slice 1 is yours: liver. You have looked at every slice.');
  assert.equal(controller.canConfirm, false);
});

test('undo at once takes back a stroke that was not noticed yet', () => {
  const controller = controllerWith({}, { undo: () => ({ what: 'painting', slice: null }) });
  controller.session.notice = () => { controller.session.history.last = { what: 'painting' }; };
  controller.undo();
  assert.equal(controller.message.text, 'The last painting was taken back.');
});

test('a slice counts as looked at in the plane that was propagated, if it is shown', () => {
  const controller = controllerWith({}, { axis: 2, report: { axis: 2, structures: {} }, seen: new Set() });
  controller.session.labelmap.grid = {};
  controller.viewer.showSlice = () => true;
  controller.showSlice(5);
  controller.session.axis = 0;
  controller.showSlice(6);
  controller.session.axis = 2;
  controller.viewer.showSlice = () => false;
  controller.showSlice(7);
  assert.deepEqual([...controller.session.seen], [5]);
});

test('of a propagation nothing is taken for structures that were deleted meanwhile', async () => {
  const dims = [2, 1, 2];
  const { labelmap, images } = labelmapOf(dims);
  const session = new Session({ SeriesInstanceUID: '1.2' }, labelmap, () => {});
  session.stop();
  const controller = controllerWith({ infer: async () => {
    session.keepOnly(new Set());
    session.keepOnly(new Set([1])); // another one of the same value
    return foundEverywhere(dims);
  } });
  controller.session = session;
  images[1][0] = 1;
  await controller.propagate();
  assert.match(controller.message.text, /deleted meanwhile/);
  assert.deepEqual(images.map(pixels => [...pixels]), [[0, 0], [1, 0]]);
  assert.deepEqual(session.report.structures, {});
});

test('of two presses of Train one counts, and the panel says what it does', async () => {
  let asked = 0;
  let arrive;
  const train = () => new Promise(resolve => { asked += 1; arrive = resolve; });
  const controller = controllerWith({ train });
  const first = controller.train();
  assert.deepEqual([controller.message.text, controller.ordering], ['Training begins…', true]);
  await controller.train();
  arrive();
  await first;
  assert.deepEqual([asked, controller.message.text, controller.ordering], [1, 'Training has begun.', false]);
});

/** A controller on a label map of 4 x 1 x 3 voxels with two structures; the server answers with these reports. */
function controllerOfTwo(...reports) {
  const dims = [4, 1, 3];
  const { labelmap, images } = labelmapOf(dims);
  const session = new Session({ SeriesInstanceUID: '1.2', imageIds: [0, 1, 2] }, labelmap, () => {});
  session.stop();
  const infer = async () => ({ params: { report: { structures: reports.shift() }, latencies: { total: 1 } }, file: niftiOf(dims) });
  const controller = controllerWith({ infer });
  controller.session = session;
  const structures = [1, 2].map(value => ({ value, name: ['liver', 'spleen'][value - 1], active: value === 1, color: [] }));
  Object.assign(controller.viewer, { structures: () => structures, showSlice: () => true, currentSlice: () => 1 });
  return { controller, session, images, structures };
}

const foundOn1 = (value, sure, gain) =>
  ({ value, painted: [0], first: 0, last: 2, confidence: { 1: sure }, gain: { 1: gain } });

test('Slice is right names all structures that it confirms', async () => {
  const both = { liver: foundOn1(1, 0.3, 0.5), spleen: foundOn1(2, 0.35, 0.1) };
  const { controller, session, images } = controllerOfTwo(both);
  images[0].set([1, 1, 2, 2]);
  await controller.propagate();
  controller.nextToCheck();
  assert.equal(controller.message.text, 'No liver found, 30 % sure: paint it, or press Slice is right (for spleen, too).');
  assert.deepEqual(controller.toConfirm, ['liver', 'spleen']);
  controller.confirmSlice();
  assert.match(controller.message.text, /^Slice 1 is yours: liver, spleen\./);
  assert.deepEqual([1, 2].map(value => session.touched.has(value, 2, 1)), [true, true]);
});

test('a structure that is propagated alone leaves what is known of the others, along the same axis', async () => {
  const { controller, session, images, structures } = controllerOfTwo(
    { liver: foundOn1(1, 0.3, 0.5) }, { spleen: foundOn1(2, 0.9, 0.1) }, { spleen: { ...foundOn1(2, 0.8, 0.1), confidence: {} } });
  images[0].set([1, 1, 0, 0]);
  await controller.propagate();
  images[0].set([1, 1, 2, 2]);
  structures.forEach(each => { each.active = each.value === 2; });
  controller.choice = { ...controller.choice, scope: 'active' };
  await controller.propagate();
  assert.deepEqual(controller.confidences, [{ slice: 1, confidence: 0.3 }]);
  controller.nextToCheck();
  assert.match(controller.message.text, /liver found, 30 % sure/);
  session.report = { ...session.report, axis: 0 };
  await controller.propagate();
  assert.deepEqual(Object.keys(session.report.structures), ['2']);
});

test('a structure that was renamed after the propagation is asked about by its name', async () => {
  const { controller, images, structures } = controllerOfTwo({ liver: foundOn1(1, 0.3, 0.5) });
  images[0].set([1, 1, 0, 0]);
  await controller.propagate();
  structures[0].name = 'lobe';
  controller.nextToCheck();
  assert.match(controller.message.text, /^No lobe found/);
});

test('a locked structure is neither propagated nor changed, and the panel says so', async () => {
  const found = { liver: foundOn1(1, 0.3, 0.5), spleen: foundOn1(2, 0.9, 0.1) };
  const { controller, session, images, structures } = controllerOfTwo({ liver: found.liver }, found, found);
  const { infer } = controller.server;
  const sent = [];
  controller.server.infer = async (model, uid, params, ...rest) => {
    sent.push(params.structures);
    const reply = await infer(model, uid, params, ...rest);
    new Uint8Array(reply.file, 352).set([0, 0, 0, 0, 1, 1, 2, 2]);
    return reply;
  };
  images[0].set([1, 1, 2, 2]);
  structures[1].locked = true;
  await controller.propagate();
  assert.deepEqual([sent[0], [...images[1]]], [['liver'], [1, 1, 0, 0]]);
  assert.match(controller.message.text, /^liver: .*spleen was left as it is: it is locked/);
  controller.choice = { ...controller.choice, scope: 'active' };
  structures.forEach(each => { each.active = each.value === 2; });
  await controller.propagate();
  assert.equal(controller.message.text, "Locked in OHIF's segmentation tab: spleen. Unlock it there first.");

  controller.choice = { ...controller.choice, scope: 'all' };
  structures[1].locked = false;
  const propagated = controller.propagate();
  structures[1].locked = true; // while it is under way
  await propagated;
  assert.deepEqual([sent[1], [...images[1]]], [['liver', 'spleen'], [1, 1, 0, 0]]);
  assert.deepEqual(Object.keys(session.report.structures), ['1']);
});

test('who the user is: who signed in, else what they say, at the next visit as well', () => {
  const kept = new Map();
  globalThis.window.localStorage = { getItem: key => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  const controller = controllerWith();
  assert.deepEqual([controller.annotator, controller.server.name], ['', '']);
  controller.callMe('Anna');
  const later = controllerWith();
  assert.deepEqual([later.annotator, later.server.name], ['Anna', 'Anna']);
  later.callMe('A'.repeat(100));
  assert.equal(later.annotator.length, 64);
  later.watching.info.annotator = 'anna@example.org';
  assert.equal(later.annotator, 'anna@example.org');
  delete globalThis.window.localStorage;
});
