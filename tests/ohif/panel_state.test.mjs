import assert from 'node:assert/strict';
import { test } from 'node:test';

import { missingSupport } from '../../apps/slmsam2/ohif/support.js';
import { trainingState } from '../../apps/slmsam2/ohif/training.js';

test('a server without a trainer', () => {
  assert.deepEqual(trainingState({}, false),
    { trainer: null, running: false, done: 0, text: 'This server does not train.' });
});

test('a training under way, and one that has finished', () => {
  const stats = { epoch: 3, total_epochs: 12, best_metric: 0.8125, eta: '2 min', message: 'published' };
  const info = { trainers: { slmsam2: {} }, train_stats: { slmsam2: stats } };
  const now = trainingState(info, true);
  assert.equal(now.done, 0.25);
  assert.equal(now.text, 'epoch 3 of 12 · score 0.813 · 2 min left · published');
  assert.equal(trainingState(info, false).text, 'last training finished · score 0.813 · published');
  assert.equal(trainingState({ trainers: { slmsam2: {} } }, false).text, 'not trained here yet');
});

test('an OHIF that lacks something is named', () => {
  const sentence = missingSupport({ segmentationService: {} }, {});
  assert.match(sentence, /not supported.*segmentationService.addSegment.*cornerstoneTools/);
});
