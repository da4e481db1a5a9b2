import assert from 'node:assert/strict';
import { test } from 'node:test';

import { menu } from '../../apps/slmsam2/ohif/part-propagate.js';
import { serverState } from '../../apps/slmsam2/ohif/part-server.js';
import { missingSupport } from '../../apps/slmsam2/ohif/support.js';
import { trainingState } from '../../apps/slmsam2/ohif/training.js';

test('a server without a trainer', () => {
  assert.deepEqual(trainingState({}, false),
    { trainer: null, running: false, done: 0, text: 'This server does not train.', started: null });
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

test('figures of the training before are not those of the one under way', () => {
  const stats = { epoch: 20, total_epochs: 20, best_metric: 0.8, start_ts: 7, status: 'finished', message: 'not better' };
  const info = { trainers: { slmsam2: {} }, train_stats: { slmsam2: stats } };
  const before = trainingState(info, false);
  assert.equal(before.started, 7);
  const now = trainingState(info, true, before.started);
  assert.deepEqual([now.done, now.text], [0, 'starting']);
  info.train_stats.slmsam2 = { ...stats, epoch: 0, best_metric: 0, start_ts: 9, status: 'running', message: 'Learning liver' };
  assert.equal(trainingState(info, true, before.started).text, 'epoch 0 of 20 · Learning liver');
  info.train_stats.slmsam2.status = 'stopped';
  assert.match(trainingState(info, false, 7).text, /^last training stopped/);
});

test('what is said of the server', () => {
  const network = { name: 'slm_sam2_nano', version: 'nano-1', trained: 'trained on 3 volumes' };
  const state = (network, lost = null) => serverState({ info: { models: { slmsam2: { network } } }, lost });
  assert.deepEqual(state(network), { title: 'slm_sam2_nano', text: 'nano-1 · trained on 3 volumes', failed: false });
  assert.match(state({ ...network, version: '' }).text, /weights are missing/);
  assert.deepEqual(state(network, 'No.'), { title: 'Not connected', text: 'No.', failed: true });
  assert.equal(serverState({ info: null, lost: null }).title, 'Connecting…');
  assert.equal(serverState({ info: { models: {} }, lost: null }).title, 'No model');
});

test('an OHIF that lacks something is named', () => {
  const sentence = missingSupport({ segmentationService: {} }, {});
  assert.match(sentence, /not supported.*segmentationService.addSegment.*cornerstoneTools/);
});

test('a menu that was chosen from by the mouse leaves the keys to the panel', () => {
  const made = [];
  globalThis.document = {
    createElement: name => {
      const listeners = {};
      const node = { name, listeners, classList: { add() {} }, setAttribute() {}, append() {},
        addEventListener: (type, listener) => { listeners[type] = listener; } };
      made.push(node);
      return node;
    },
  };
  menu('Which way', { both: 'Both ways' });
  const { listeners } = made.find(each => each.name === 'select');
  const blurred = [true, false].filter(byKeys => {
    let left = false;
    listeners.change({ target: { matches: () => byKeys, blur: () => { left = true; } } });
    return left;
  });
  assert.deepEqual(blurred, [false]);
});
