import assert from 'node:assert/strict';
import { test } from 'node:test';

import { confidenceColour, nextToCheck, sliceConfidences } from '../../apps/slmsam2/ohif/confidence.js';

const REPORT = {
  liver: { value: 1, painted: [5], first: 4, last: 6, confidence: { 4: 0.9, 5: 1, 6: 0.4, 10: 0.7 } },
  spleen: { value: 2, painted: [4], first: 4, last: 4, confidence: { 4: 1, 3: 0.2 } },
};

test('the least sure structure counts, slices ascend', () => {
  assert.deepEqual(sliceConfidences(REPORT), [
    { slice: 3, confidence: 0.2, painted: false },
    { slice: 4, confidence: 0.9, painted: true },
    { slice: 5, confidence: 1, painted: true },
    { slice: 6, confidence: 0.4, painted: false },
    { slice: 10, confidence: 0.7, painted: false },
  ]);
  assert.deepEqual(sliceConfidences({}), []);
});

test('the least sure slice comes first, then the next, each once', () => {
  const known = sliceConfidences(REPORT);
  const seen = new Set();
  const order = [];
  for (let slice; (slice = nextToCheck(known, seen, new Set())) !== null;) {
    order.push(slice);
    seen.add(slice);
  }
  assert.deepEqual(order, [3, 6, 10]);
});

test('neighbours of what was seen wait; corrected slices are done', () => {
  const known = [1, 2, 3, 8].map((slice, n) => ({ slice, confidence: 0.1 * (n + 1), painted: false }));
  assert.equal(nextToCheck(known, new Set([2]), new Set()), 8);
  assert.equal(nextToCheck(known, new Set([2, 8]), new Set([1])), 3);
});

test('colours go from red to green', () => {
  assert.match(confidenceColour(0), /^hsl\(0 /);
  assert.match(confidenceColour(1), /^hsl\(120 /);
  assert.equal(confidenceColour(7), confidenceColour(1));
});
