import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { browserId } from '../../apps/slmsam2/ohif/ids.js';

/** A browser's window that keeps things. */
function browser() {
  const kept = new Map();
  return { localStorage: { getItem: key => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) } };
}

test('a browser has one name, and two browsers have two', () => {
  const [one, other] = [browser(), browser()];
  assert.match(browserId(one), /^browser-[0-9a-f]{32}$/);
  assert.equal(browserId(one), browserId(one));
  assert.notEqual(browserId(one), browserId(other));
});

test('a browser that keeps nothing has a name all the same', () => {
  mock.method(console, 'warn', () => {});
  const closed = { get localStorage() { throw new Error('denied'); } };
  assert.match(browserId(closed), /^browser-/);
});
