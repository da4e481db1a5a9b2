// Keys. They work wherever no text is typed; OHIF's own keep working.

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
    U: () => controller.redo(),
    n: () => controller.nextToCheck(),
    y: () => controller.confirmSlice(),
  };
  /** with Ctrl, or the Mac's command key */
  const commands = { z: () => controller.undo(), Z: () => controller.redo(), y: () => controller.redo() };
  const listener = event => {
    const typing = event.target.closest?.('input:not([type=range]), select, textarea, [contenteditable]');
    const action = (event.ctrlKey || event.metaKey ? commands : actions)[event.key];
    if (!action || typing || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  };
  window.addEventListener('keydown', listener, true);
  return () => window.removeEventListener('keydown', listener, true);
}
