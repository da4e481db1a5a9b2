import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

globalThis.window = { addEventListener() {}, removeEventListener() {}, localStorage: storage() };
mock.method(console, 'error', () => {});
const { hanging, later, niftiOf } = await import('./made_up.mjs');
const { pointer } = await import('../../apps/slmsam2/ohif/pointer.js');
const { visit } = await import('./visit.mjs');

const PAUSE = 40; // ms
const LONGER = 4 * PAUSE;

function storage() {
  const kept = new Map();
  return { getItem: key => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
}

function found(name, value) {
  const facts = { value, painted: [0], first: 0, last: 1, confidence: { 1: 0.5 }, gain: { 1: 0.1 } };
  return { params: { report: { structures: { [name]: facts } }, latencies: { total: 1 } }, file: niftiOf([2, 1, 2], [0, 0, value, value]) };
}

/** A series on which the spleen was painted and propagated; `asked`: the structures of each request since. */
async function propagated(infer = async (_, uid, params) => found(params.structures[0], 1)) {
  const asked = [];
  const cancelled = [];
  const server = {
    infer: async (...args) => { asked.push(args[2].structures); return infer(...args); },
    progress: async () => null,
    cancel: async id => { cancelled.push(id); },
  };
  const visited = await visit(new Map(), { server });
  const { controller, images } = visited;
  controller.choose({ ...controller.choice, byItself: true });
  controller.correcting.pause = PAUSE;
  const paint = (slice, pixels) => {
    images[slice].set(pixels);
    controller.session.notice();
  };
  paint(0, [1, 0]);
  await later(LONGER);
  assert.deepEqual(asked, []); // a new structure waits for the button
  controller.server.infer = async (_, uid, params) => found(params.structures[0], 1);
  await controller.propagate();
  controller.server.infer = async (...args) => { asked.push(args[2].structures); return infer(...args); };
  const press = () => pointer.dispatchEvent(Object.assign(new Event('press'), { on: 'image' }));
  controller.viewer.viewportsOf = () => [{ element: { contains: on => on === 'image' }, getCamera: () => ({ viewPlaneNormal: [0, 0, 1] }) }];
  return { ...visited, asked, cancelled, paint, press };
}

test('a correction is propagated once the user pauses, what is new is not', async () => {
  const { controller, asked, paint, shown, leave } = await propagated();
  controller.addStructure('liver');
  paint(1, [2, 1]); // over the spleen, too
  paint(0, [1, 1]);
  assert.deepEqual(asked, []);
  await later(LONGER);
  assert.deepEqual(asked, [['spleen']]);
  assert.match(controller.message.text, /^spleen: slices 0 to 1/);
  assert.deepEqual(shown(), [1, 1, 2, 1]);
  assert.equal(controller.undoes, 'propagation');
  await later(LONGER);
  assert.equal(asked.length, 1);
  leave();
});

test('a correction waits while the button is held, and for the button where it is not wanted', async () => {
  const { controller, asked, paint, leave } = await propagated();
  pointer.down = true;
  paint(1, [0, 1]);
  await later(LONGER);
  assert.deepEqual(asked, []);
  pointer.down = false;
  controller.choose({ ...controller.choice, byItself: false });
  await later(LONGER);
  paint(1, [1, 1]);
  await later(LONGER);
  assert.deepEqual(asked, []);
  leave();
});

test('a press on the image ends what goes on by itself, without a word, and it is begun anew', async () => {
  let first = true;
  const { controller, asked, cancelled, paint, press, shown, leave } = await propagated(async (...args) => {
    if (!first) return found('spleen', 1);
    first = false;
    return hanging(args[4]);
  });
  paint(1, [0, 1]);
  await later(LONGER);
  assert.ok(controller.propagation);
  press();
  await later(PAUSE / 4);
  assert.deepEqual([controller.propagation, controller.message.text, asked.length], [null, '', 1]);
  assert.ok(cancelled.length > 0);
  paint(0, [1, 1]);
  await later(LONGER);
  assert.deepEqual([asked.length, shown()], [2, [1, 1, 0, 1]]);
  leave();
});

test('undo ends it and takes the correction back, and nothing follows', async () => {
  const { controller, asked, paint, shown, leave } = await propagated((...args) => hanging(args[4]));
  const before = shown();
  paint(1, [0, 1]);
  await later(LONGER);
  await controller.undo();
  assert.deepEqual([shown(), controller.message.text], [before, 'The last painting (slice 1) was taken back.']);
  await later(LONGER);
  assert.equal(asked.length, 1);
  leave();
});

test('propagate takes the place of what goes on by itself', async () => {
  let first = true;
  const { controller, asked, paint, leave } = await propagated(async (...args) => {
    if (!first) return found('spleen', 1);
    first = false;
    return hanging(args[4]);
  });
  paint(1, [0, 1]);
  await later(LONGER);
  await controller.propagate();
  assert.equal(asked.length, 2);
  assert.match(controller.message.text, /^spleen/);
  leave();
});

test('structures that are locked or deleted by then, and confirmed slices, are not propagated', async () => {
  const { controller, asked, paint, structures, leave } = await propagated();
  paint(1, [0, 1]);
  structures[0].locked = true;
  await later(LONGER);
  structures[0].locked = false;
  controller.session.confirm(1);
  await later(LONGER);
  assert.deepEqual(asked, []);
  leave();
});

test('a structure that is deleted is no correction, of itself or of another one', async () => {
  const remove = async ({ controller, images, structures, look, leave }) => {
    controller.addStructure('liver');
    images[0][1] = 2;
    controller.session.notice();
    images[0][1] = 0; // as OHIF does
    structures.pop();
    await look();
    assert.deepEqual(controller.message, { text: '', failed: false });
    await later(LONGER);
    leave();
  };
  await remove(await visit(new Map()));
  const visited = await propagated();
  await remove(visited);
  assert.deepEqual(visited.asked, []);
});

test('what was chosen holds for the images that follow', async () => {
  const { controller, leave } = await visit(new Map());
  assert.equal(controller.choice.byItself, true);
  controller.choose({ ...controller.choice, byItself: false });
  leave();
  const next = await visit(new Map());
  assert.equal(next.controller.choice.byItself, false);
  next.leave();
});
