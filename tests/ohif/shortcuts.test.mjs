import assert from 'node:assert/strict';
import { test } from 'node:test';

import { listenForShortcuts } from '../../apps/slmsam2/ohif/shortcuts.js';

/** What is done by keys, and how a press of the mouse is told. */
function keys() {
  const listeners = {};
  globalThis.window = { addEventListener: (type, listener) => { listeners[type] = listener; }, removeEventListener() {} };
  const done = [];
  const names = ['undo', 'redo', 'confirmSlice', 'nextToCheck', 'propagate', 'togglePoints'];
  const steps = ['stepBrush', 'stepStructure'].map(name => [name, by => done.push(`${name} ${by}`)]);
  listenForShortcuts(Object.fromEntries([...names.map(name => [name, () => done.push(name)]), ...steps]));
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

test('brackets change the brush, also where a keyboard has them behind AltGr or Option', () => {
  const { press } = keys();
  const [altKey, ctrlKey, metaKey, repeat] = [true, true, true, true];
  const presses = [{}, { repeat }, { altKey }, { altKey, ctrlKey }].map(more => press('[', more));
  assert.deepEqual(presses, Array(4).fill('stepBrush -1'));
  assert.equal(press(']', { code: 'BracketRight' }), 'stepBrush 1');
  assert.deepEqual([press('[', { metaKey }), press('+', { code: 'BracketRight' })], ['', '']); // back; OHIF's zoom
  assert.deepEqual([press('q'), press('w'), press('w', { repeat }), press('w', { altKey })],
    ['stepStructure -1', 'stepStructure 1', '', '']);
});
