// Keys. They work wherever no text is typed; OHIF's own keep working.

const FIELDS = 'input:not([type=range]), select, textarea, [contenteditable]';
const HELD = ['u', 'shift+u', 'z', 'shift+z', '[', ']']; // go on while they are held; slices are not looked at so quickly
const SIGNS = ['[', ']']; // which many keyboards have behind AltGr or Option, on Windows the same as Ctrl and Alt together

/**
 * @param {import('./controller.js').Controller} controller
 * @returns {() => void} ends it
 */
export function listenForShortcuts(controller) {
  const actions = {
    b: () => controller.activateTool('CircularBrush'),
    e: () => controller.activateTool('CircularEraser'),
    t: () => controller.activateTool('ThresholdCircularBrush'),
    c: () => controller.togglePoints(),
    p: () => controller.propagate(),
    u: () => controller.undo(),
    'shift+u': () => controller.redo(),
    n: () => controller.nextToCheck(),
    y: () => controller.confirmSlice(),
    q: () => controller.stepStructure(-1),
    w: () => controller.stepStructure(1),
    '[': () => controller.stepBrush(-1),
    ']': () => controller.stepBrush(1),
  };
  /** with Ctrl, or the Mac's command key */
  const commands = { z: () => controller.undo(), 'shift+z': () => controller.redo(), y: () => controller.redo() };
  const listener = event => {
    const key = `${event.shiftKey ? 'shift+' : ''}${letterOf(event)}`; // Caps Lock changes nothing
    const isCommand = (event.ctrlKey && !event.altKey) || event.metaKey;
    const action = (isCommand ? commands : actions)[key];
    if (!action || event.target.closest?.(FIELDS) || (event.altKey && !SIGNS.includes(key))) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat || HELD.includes(key)) action();
  };
  window.addEventListener('keydown', listener, true);
  window.addEventListener('mousedown', leaveField, true);
  return () => {
    window.removeEventListener('keydown', listener, true);
    window.removeEventListener('mousedown', leaveField, true);
  };
}

/** The letter of a key; where another script is typed, that which a Latin keyboard has at its place. */
function letterOf({ key, code }) {
  const [, place = key] = /^Key([A-Z])$/.exec(code) ?? [];
  return (/^\p{Script=Latin}$/u.test(key) ? key : place).toLowerCase();
}

/** A press elsewhere ends typing: OHIF's viewports leave the keys to the field or menu that had them. */
function leaveField(event) {
  const { activeElement } = document;
  if (activeElement?.matches(FIELDS) && !activeElement.contains(event.target)) activeElement.blur();
}
