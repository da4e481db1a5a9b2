import assert from 'node:assert/strict';
import { test } from 'node:test';

import { listenForShortcuts } from '../../apps/slmsam2/ohif/shortcuts.js';

/** What is done by keys, and how a press of the mouse is told. */
function keys() {
  const listeners = {};
  globalThis.window = { addEventListener: (type, listener) => { listeners[type] = listener; }, removeEventListener() {} };
  const done = [];
  const names = ['undo', 'redo', 'confirmSlice', 'nextToCheck', 'propagate', 'togglePoints'];
  listenForShortcuts(Object.fromEntries(names.map(name => [name, () => done.push(name)])));
  const event = { target: {}, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, repeat: false,
    preventDefault() {}, stopPropagation() {} };
  const press = (key, more = {}) => {
    done.length = 0;
    listeners.keydown({ ...event, key, ...more });
    return done.join();
  };
  return { press, mousedown: listeners.mousedown };
}

test('Caps Lock changes no key', () => {
  const { press } = keys();
  const [ctrlKey, shiftKey] = [true, true];
  assert.deepEqual(['z', 'Z'].map(key => press(key, { ctrlKey })), ['undo', 'undo']);
  assert.deepEqual(['z', 'Z'].map(key => press(key, { ctrlKey, shiftKey })), ['redo', 'redo']);
  assert.deepEqual([press('u'), press('U'), press('u', { shiftKey }), press('Y')], ['undo', 'undo', 'redo', 'confirmSlice']);
  assert.deepEqual([press('N', { shiftKey }), press('z')], ['', '']);
});

test('a key that is held confirms one slice; undo goes on', () => {
  const { press } = keys();
  const repeat = true;
  assert.deepEqual(['y', 'n', 'p', 'c'].map(key => press(key, { repeat })), ['', '', '', '']);
  assert.deepEqual([press('u', { repeat }), press('z', { repeat, ctrlKey: true })], ['undo', 'undo']);
});

test('a press beside a field or menu ends typing there', () => {
  const { mousedown } = keys();
  let left = 0;
  const inside = {};
  const activeElement = { matches: () => true, contains: target => target === inside, blur: () => { left += 1; } };
  globalThis.document = { activeElement };
  mousedown({ target: inside });
  assert.equal(left, 0);
  mousedown({ target: {} });
  assert.equal(left, 1);
});

test('keys work where another script is typed, and go by their letter where a Latin one is', () => {
  const { press } = keys();
  assert.deepEqual([press('з', { code: 'KeyP' }), press('Г', { code: 'KeyU', shiftKey: true })], ['propagate', 'redo']);
  assert.deepEqual([press('y', { code: 'KeyZ' }), press('z', { code: 'KeyY' })], ['confirmSlice', '']); // a German keyboard
  assert.equal(press('Enter', { code: 'Enter' }), '');
});
