// The controller of the mode that is open. It outlives the panel: OHIF takes panels away when another tab is chosen.
import { Controller } from './controller.js';
import { browserId } from './ids.js';
import { Pages } from './pages.js';
import { watchPointer } from './pointer.js';
import { Safe } from './safe.js';
import { Server } from './server.js';
import { listenForShortcuts } from './shortcuts.js';
import { Store } from './store.js';
import { missingSupport } from './support.js';
import { Viewer } from './viewer.js';

/** Event "change": `state` is another one. */
export const running = Object.assign(new EventTarget(), {
  /** @type {{controller: Controller|null, missing: string|null}} missing: why there is none */
  state: { controller: null, missing: null },
});

let stop = () => {};

/** @type {Map<string, import('./kept.js').Kept[]>} from modes that were left, as by OHIF's back arrow */
const kept = new Map();

/** @type {Safe|null} of this page */
let safe = null;

window.addEventListener('beforeunload', event => {
  if (kept.size > 0 || running.state.controller?.unsaved) event.preventDefault();
});

/** @param {{servicesManager: any, commandsManager: any}} managers */
export function enter(managers) {
  const libraries = { cornerstone: window.cornerstone, cornerstoneTools: window.cornerstoneTools };
  const missing = missingSupport(managers.servicesManager.services, libraries);
  safe ??= new Safe(new Store(), new Pages());
  const controller = missing ? null : new Controller(new Viewer(managers, libraries), new Server(browserId()), kept, safe);
  const ends = controller ? [controller.start(), listenForShortcuts(controller), watchPointer()] : [];
  stop = () => ends.forEach(end => end());
  change({ controller, missing });
}

export function exit() {
  stop();
  change({ controller: null, missing: null });
}

function change(state) {
  running.state = state;
  running.dispatchEvent(new Event('change'));
}
