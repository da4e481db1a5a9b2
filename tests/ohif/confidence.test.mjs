import assert from 'node:assert/strict';
import { test } from 'node:test';

import { confidenceColour, nextToCheck, sliceConfidences } from '../../apps/slmsam2/ohif/confidence.js';

const REPORT = {
  liver: {
    value: 1, painted: [5], first: 4, last: 6,
    confidence: { 4: 0.9, 5: 1, 6: 0.4, 10: 0.7 }, gain: { 4: 0.01, 5: 0, 6: 0.1, 10: 0.3 },
  },
  spleen: { value: 2, painted: [4], first: 4, last: 4, confidence: { 4: 1, 3: 0.2 }, gain: { 4: 0, 3: 0.2 } },
};
const nothingGiven = () => false;

test('the least sure structure counts, slices ascend', () => {
  assert.deepEqual(sliceConfidences(REPORT), [
    { slice: 3, confidence: 0.2 },
    { slice: 4, confidence: 0.9 },
    { slice: 5, confidence: 1 },
    { slice: 6, confidence: 0.4 },
    { slice: 10, confidence: 0.7 },
  ]);
  assert.deepEqual(sliceConfidences({}), []);
});

test('slices come in the order of what correcting them should bring, each once', () => {
  const seen = new Set();
  const order = [];
  for (let next; (next = nextToCheck(REPORT, seen, nothingGiven)) !== null;) {
    order.push([next.value, next.slice]);
    seen.add(next.slice);
  }
  // 4 is given for the spleen, not for the liver
  assert.deepEqual(order, [[1, 10], [2, 3], [1, 6], [1, 4]]);
});

test('neighbours of what was seen wait, the longer the farther it is from what was painted', () => {
  const gain = { 11: 0.2, 12: 0.3, 18: 0.31, 19: 0.32, 20: 0.3 };
  const one = { aorta: { value: 1, painted: [10], confidence: {}, gain } };
  assert.equal(nextToCheck(one, new Set(), nothingGiven).slice, 19);
  assert.equal(nextToCheck(one, new Set([19]), nothingGiven).slice, 12);
  assert.equal(nextToCheck(one, new Set([11]), nothingGiven).slice, 19); // next to a painted slice: no news
});

test('what was painted or confirmed since is not asked about again, for its structure', () => {
  assert.equal(nextToCheck(REPORT, new Set(), (value, slice) => value === 1 && slice === 10).slice, 3);
  assert.equal(nextToCheck(REPORT, new Set(), (value, slice) => value === 2 && slice === 10).slice, 10);
});

test('colours go from red to green', () => {
  assert.match(confidenceColour(0), /^hsl\(0 /);
  assert.match(confidenceColour(1), /^hsl\(120 /);
  assert.equal(confidenceColour(7), confidenceColour(1));
});
