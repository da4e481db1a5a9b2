import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Labelmap } from '../../apps/slmsam2/ohif/labelmap.js';
import { listenForPoints } from '../../apps/slmsam2/ohif/points.js';
import { voxelAt } from '../../apps/slmsam2/ohif/shown.js';
import { Viewer } from '../../apps/slmsam2/ohif/viewer.js';
import { screenOf } from './made_up.mjs';

const SERIES = { displaySetInstanceUID: 's' };

/** A stack of slices at these positions, from the last to the first, in a viewport that shows one of them. */
function stackOf(positions, dims) {
  const { add, cornerstone, tools } = screenOf(dims);
  add('a');
  const plane = cornerstone.metaData.get(null, 0);
  cornerstone.metaData.get = (_, k) => ({ ...plane, imagePositionPatient: positions[k] });
  const { grid } = new Labelmap('a', cornerstone, tools);
  let shown = 0;
  const imageIds = [...positions.keys()].reverse();
  const viewport = {
    type: 'stack',
    element: { contains: () => true, getBoundingClientRect: () => ({ left: 0, top: 0 }) },
    getCurrentImageId: () => shown,
    getImageIds: () => imageIds,
    setImageIdIndex: index => { shown = imageIds[index]; },
    getCamera: () => ({ viewPlaneNormal: [0, 0, -1] }),
    canvasToWorld: ([x, y]) => [positions[shown][0] + x, positions[shown][1] + y, positions[shown][2]],
  };
  const viewports = new Map([['v', { viewportId: 'v', displaySetInstanceUIDs: ['s'] }]]);
  const services = {
    viewportGridService: { getState: () => ({ viewports, activeViewportId: 'v' }) },
    cornerstoneViewportService: { getCornerstoneViewport: () => viewport },
  };
  const viewer = new Viewer({ servicesManager: { services }, commandsManager: {} }, { cornerstone, cornerstoneTools: tools });
  return { grid, viewer, viewport, go: k => { shown = k; }, shown: () => shown };
}

test('where slices lie unevenly, the one on the screen is that of the label', () => {
  const positions = [0, 3, 6, 9, 12, 15, 24, 33, 42, 51].map(z => [0, 0, z]); // a head CT, finer below
  const { grid, viewer, go, shown } = stackOf(positions, [4, 4, 10]);
  for (const k of positions.keys()) {
    go(k);
    assert.equal(viewer.currentSlice(SERIES, grid, 2), k);
    go(0);
    assert.equal(viewer.showSlice(SERIES, grid, 2, k), true);
    assert.equal(shown(), k);
  }
});

test('with a tilted gantry a point is where it was placed', () => {
  const tilt = 0.35; // 20 degrees
  const positions = Array.from({ length: 30 }, (_, k) => [0, -5 * Math.sin(tilt) * k, 5 * Math.cos(tilt) * k]);
  const { grid, viewer, go } = stackOf(positions, [200, 200, 30]);
  let press;
  globalThis.window = { addEventListener: (_, added) => { press = added; }, removeEventListener() {} };
  const points = [];
  listenForPoints(viewer, SERIES, grid, ({ voxel }) => points.push(voxel));
  for (const k of [0, 29]) {
    go(k);
    press({ button: 0, clientX: 100, clientY: 50, stopPropagation() {}, preventDefault() {} });
  }
  assert.deepEqual(points, [[100, 50, 0], [100, 50, 29]]);
});

test('an image of something else is no slice', () => {
  const { grid, viewer, viewport, go } = stackOf([[0, 0, 0], [0, 0, 1]], [4, 4, 2]);
  go('scout');
  viewport.canvasToWorld = () => [1, 1, 1];
  assert.deepEqual([viewer.currentSlice(SERIES, grid, 2), voxelAt(viewport, [1, 1], grid)], [null, null]);
});
