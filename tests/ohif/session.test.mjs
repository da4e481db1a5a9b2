import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readLabels } from '../../apps/slmsam2/ohif/nifti.js';
import { drawnOn } from '../../apps/slmsam2/ohif/points.js';
import { Session } from '../../apps/slmsam2/ohif/session.js';
import { labelmapOf, niftiOf } from './made_up.mjs';

const LARGE = [512, 512, 300];

test('a click on a large CT costs milliseconds', async () => {
  const { labelmap, images } = labelmapOf(LARGE);
  images.forEach(pixels => pixels.fill(1, 100_000, 150_000));
  const session = new Session({}, labelmap, () => {});
  const answer = niftiOf(LARGE);
  new Uint8Array(answer, 352).fill(1, 512 * 512 * 150 + 90_000, 512 * 512 * 150 + 110_000);
  const clicked = { value: 1, axis: 2, slice: 150, foreground: [], background: [] };
  const begin = process.cpuUsage();
  session.notice();
  const { data } = await readLabels(answer);
  session.draw(drawnOn(session.known, data, LARGE, clicked, session.sliceNow(clicked)), clicked, session.sliceNow(clicked));
  session.notice();
  const took = process.cpuUsage(begin).user / 1000;
  assert.equal(images[150].reduce((sum, value) => sum + value), 20_000);
  assert.ok(took < 1000, `${took} ms`); // of processor time; some 100
});

test('of a slice drawn by points only that slice counts as painted', () => {
  const dims = [3, 2, 4];
  const { labelmap, images } = labelmapOf(dims);
  let changes = 0;
  const session = new Session({}, labelmap, () => { changes += 1; });
  const clicked = { value: 5, axis: 0, slice: 1, foreground: [], background: [] };
  const drawn = new Uint8Array(24).fill(1);
  session.draw(drawnOn(session.known, drawn, dims, clicked, session.sliceNow(clicked)), clicked, session.sliceNow(clicked));
  session.notice();
  assert.deepEqual(images.map(pixels => [...pixels]), Array(4).fill([0, 5, 0, 0, 5, 0]));
  assert.deepEqual([session.touched.slices(5, 0), session.touched.slices(5, 2)], [[1], []]);
  assert.deepEqual([changes, session.axis, session.unsaved], [1, 0, true]);
  session.stop();
});
