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
    n: () => controller.nextToCheck(),
  };
  const listener = event => {
    const typing = event.target.closest?.('input:not([type=range]), select, textarea, [contenteditable]');
    const action = actions[event.key];
    if (!action || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  };
  window.addEventListener('keydown', listener, true);
  return () => window.removeEventListener('keydown', listener, true);
}
