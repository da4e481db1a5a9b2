// Whether a mouse button is held, or a pen or a finger down: what is being painted is not over.

export const pointer = { down: false };

const EVENTS = ['pointerdown', 'pointermove', 'pointerup', 'pointercancel'];

/** @returns {() => void} ends it */
export function watchPointer() {
  const note = ({ buttons }) => { pointer.down = buttons !== 0; };
  EVENTS.forEach(type => window.addEventListener(type, note, true));
  return () => {
    EVENTS.forEach(type => window.removeEventListener(type, note, true));
    pointer.down = false;
  };
}
