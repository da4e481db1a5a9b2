import assert from 'node:assert/strict';
import { test } from 'node:test';

import { howFar, loaded, standing, standingInShort } from '../../apps/slmsam2/ohif/sentences.js';

const NOW = new Date('2026-03-05T09:30:30').getTime();
const structures = [{ name: 'liver' }, { name: 'spleen' }];

test('of a loaded label it is said whose it is and how old', () => {
  const says = saved => loaded({ structures, isOwn: false, ...saved }, NOW);
  assert.equal(says({}), 'Loaded: liver, spleen. These slices count as yours: Propagate fills only the others.');
  assert.match(says({ made: '2026-03-02T09:30:00', creator: 'anna' }), /spleen\. Saved .*2026.*9:30.*, 3 days ago by anna\. These/);
  assert.match(says({ made: '2026-02-05' }), /Saved [^:]*2026, 28 days ago\. These/);
  assert.match(says({ made: '2026-03-05T09:30:00', isOwn: true }), /, just now by you, in this browser\. These/);
  assert.match(says({ made: '2026-03-05T09:29:30' }), /, 1 minute ago\./);
  assert.match(says({ made: '2026-03-05T08:29:30' }), /, 1 hour ago\./);
  assert.match(says({ made: '2026-03-06T08:29:30' }), /, just now\./); // by a clock that is ahead
  assert.match(says({ creator: 'bob', isOwn: true }), /spleen\. Saved by bob\. These/);
});

test('of a slice it is said how sure the server is of which structure', () => {
  const known = [{ name: 'liver', confidence: 0.536 }, { name: 'spleen', confidence: 0.92 }, { name: 'kidney', confidence: null }];
  assert.equal(standing(known), 'liver 54 % sure, spleen 92 % sure, kidney yours');
  assert.equal(standingInShort(known, true), '54 % sure: liver');
  assert.equal(standingInShort(known.slice(0, 1), false), '54 % sure');
  assert.equal(standingInShort(known.slice(2), true), 'yours');
  assert.deepEqual([standing([]), standingInShort([], true)], ['', '']);
});

test('who waits is told how many are before', () => {
  assert.equal(howFar({ done: 0, total: 0, before: 2 }), 'waiting, 2 before you');
  assert.equal(howFar({ done: 0, total: 0, before: 0 }), 'waiting…');
  assert.equal(howFar({ done: 3, total: 40, before: 0 }), '3 of 40 slices');
});
