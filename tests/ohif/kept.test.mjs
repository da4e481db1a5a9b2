import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { labelmapOf } from './made_up.mjs';

const asked = []; // what the page asks before it is left
globalThis.window = {
  addEventListener: (type, listener) => { if (type === 'beforeunload') asked.push(listener); },
  removeEventListener() {},
};
mock.method(console, 'error', () => {});
const { Controller } = await import('../../apps/slmsam2/ohif/controller.js');
const { running } = await import('../../apps/slmsam2/ohif/running.js');

const SERIES = { SeriesInstanceUID: '1.2', imageIds: [0, 1] };
const INFO = { models: { slmsam2: {} }, labels: ['spleen'] };

/** A visit of a series of 2 x 1 x 2 voxels, in a viewer that begins with an empty label map. */
async function visit(kept, { series = SERIES, server = {} } = {}) {
  const { images, cornerstone, tools } = labelmapOf([2, 1, 2]);
  const structures = [];
  const find = value => structures.find(each => each.value === value);
  const viewer = {
    cornerstone, tools,
    onChange: () => () => {},
    hasSegmentation: id => id === 'a',
    activeSeries: () => series,
    segmentationOf: async (_, first) => {
      structures.push(...first.map(({ value, name }, n) => ({ value, name, active: n === 0, color: [0, 0, 0, 255] })));
      return 'a';
    },
    structures: () => structures.map(each => ({ ...each })),
    addStructure: (_, value, name) => structures.push({ value, name, active: false, color: [0, 0, 0, 255] }),
    renameStructure: (_, value, name) => { find(value).name = name; },
    colourStructure: (_, value, color) => { find(value).color = color; },
    activateStructure: (_, value) => structures.forEach(each => { each.active = each.value === value; }),
  };
  const controller = new Controller(viewer, { info: async () => INFO, ...server }, kept);
  const leave = controller.start();
  while (!controller.session) await new Promise(resolve => setTimeout(resolve, 10));
  return { controller, images, leave, structures, shown: () => images.flatMap(pixels => [...pixels]) };
}

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
  await controller.submit();
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
    const submitted = controller.submit();
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
