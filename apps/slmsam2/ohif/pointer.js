// Whether a mouse button is held, or a pen or a finger down: what is being painted is not over.

/** Event "press": a button goes down, or a pen or the first finger, on the element `on`. */
export const pointer = Object.assign(new EventTarget(), { down: false });

const EVENTS = ['pointerdown', 'pointermove', 'pointerup', 'pointercancel'];

/** @returns {() => void} ends it */
export function watchPointer() {
  const note = ({ type, buttons, isPrimary, target }) => {
    if (type === 'pointerdown' && isPrimary) pointer.dispatchEvent(Object.assign(new Event('press'), { on: target }));
    pointer.down = buttons !== 0;
  };
  EVENTS.forEach(type => window.addEventListener(type, note, true));
  return () => {
    EVENTS.forEach(type => window.removeEventListener(type, note, true));
    pointer.down = false;
  };
}

/**
 * @param {(target: Element) => void} listener called at each press, before anything is painted by it
 * @returns {() => void} ends it
 */
export function onPress(listener) {
  const told = event => listener(event.on);
  pointer.addEventListener('press', told);
  return () => pointer.removeEventListener('press', told);
}
