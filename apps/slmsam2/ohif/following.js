// Follows OHIF: which series and which segmentation the user works on, and a session for each.
import { drop, keptOf, keyOf, leave, resume } from './kept.js';
import { Labelmap } from './labelmap.js';
import { onPress } from './pointer.js';
import { NOTHING } from './safe.js';
import { DAMAGED, ELSEWHERE, isBack, keptOfOthers, othersUnsaved, TURNED } from './sentences.js';
import { Session } from './session.js';
import { planeOf } from './shown.js';
import { firstStructures } from './structures.js';

const CALM = 30; // ms: OHIF changes several things at once
const PATIENCE = 5000; // ms that the server has to name its structures

export class Following {
  /**
   * @param {import('./controller.js').Controller} controller
   * @param {(action: () => Promise<void>) => Promise<void>} attempt shows what goes wrong
   * @param {Map<string, import('./kept.js').Kept[]>} kept by the series' key
   */
  constructor(controller, attempt, kept) {
    this.controller = controller;
    this.attempt = attempt;
    this.kept = kept;
    /** @type {Map<string, Session>} by the segmentation's id */
    this.sessions = new Map();
    /** @type {string|null} the series that was worked on last */
    this.uid = null;
    /** @type {string|null} key of the series that was opened last */
    this.opened = null;
    this.timer = 0;
    this.stopped = false;
    /** whether nothing was looked for yet: the server is asked for its structures first */
    this.waiting = true;
    /** what is under way; one after the other, or a series would get two segmentations */
    this.syncing = Promise.resolve();
  }

  /**
   * @param {Promise<void>} ready what is awaited, for a while, before the first segmentation is made
   * @returns {() => void} ends it, and keeps what is not submitted
   */
  start(ready) {
    const { viewer } = this.controller;
    const stops = [viewer.onChange(() => this.#syncSoon()), onPress(target => this.#pressed(target))];
    this.syncing = Promise.race([ready, new Promise(resolve => setTimeout(resolve, PATIENCE))]);
    this.#syncSoon();
    return () => {
      this.stopped = true;
      stops.forEach(stop => stop());
      clearTimeout(this.timer);
      for (const session of this.sessions.values()) leave(session, viewer, this.kept);
      this.sessions.clear();
    };
  }

  /** Whether anything is not submitted. */
  get unsaved() {
    return this.kept.size > 0 || [...this.sessions.values()].some(each => each.unsaved || each.submitting);
  }

  /** Leave everything as it is: nothing is asked about, and nothing comes back. */
  leaveAll() {
    for (const session of this.sessions.values()) session.unsaved = false;
    this.kept.clear();
  }

  /** A sentence on the other segmentations of a session's series that are not submitted; '' if there are none. */
  othersUnsaved(session) {
    const { viewer } = this.controller;
    const unsaved = this.#othersOf(session).filter(each => each.unsaved);
    return othersUnsaved(unsaved.map(each => viewer.segmentationName(each.labelmap.id)));
  }

  #syncSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.syncing = this.syncing.then(() => this.attempt(() => this.#sync()));
    }, CALM);
  }

  async #sync() {
    this.waiting = false;
    this.#leaveGone();
    const series = this.controller.viewer.activeSeries();
    /** @type {Session|null} */
    let session = null;
    let said = '';
    try {
      said = series ? await this.#bringBack(series) : '';
      session = series && await this.#sessionOf(series);
    } finally { // a series that cannot be opened leaves none to go on with
      if (!this.stopped) this.#goOn(session, said);
    }
  }

  /** End the work on segmentations that were deleted, or whose voxels OHIF has dropped; of the latter it comes back. */
  #leaveGone() {
    const { viewer } = this.controller;
    for (const [id, session] of this.sessions) {
      if (viewer.hasSegmentation(id) && session.labelmap.isThere) continue;
      leave(session, viewer, this.kept);
      this.sessions.delete(id);
    }
  }

  /** @returns {Promise<Session|null>} of the segmentation that the user paints into; null: there is none yet */
  async #sessionOf(series) {
    const { viewer, info } = this.controller;
    const id = await viewer.segmentationOf(series, firstStructures(info));
    return id && !this.stopped ? this.#begin(id, series) : null;
  }

  /**
   * The panel is on this session from now on.
   * @param {Session|null} session
   * @param {string} said of what was brought back
   */
  #goOn(session, said) {
    const { controller } = this;
    const isOther = session !== controller.session;
    controller.session = session;
    if (isOther) {
      controller.clicking.end();
      controller.say(said || this.#moved(session));
    }
    if (session && session.uid !== this.uid) {
      this.uid = session.uid;
      controller.choice = { ...controller.choice, limit: null }; // a slice of the series before
      controller.server.opened(session.uid).catch(error => console.warn(error)); // it comes a little later then
      controller.reviewing.look(session.uid);
    }
    session?.notice(); // what was deleted of a structure, before the structure is forgotten
    if (session) this.#forgetDeleted(session.labelmap.id);
    controller.changed();
  }

  /** @returns {Session} of a segmentation, a new one if it has none */
  #begin(id, series) {
    if (!this.sessions.has(id)) {
      const { viewer } = this.controller;
      const labelmap = new Labelmap(id, viewer.cornerstone, viewer.tools);
      this.sessions.set(id, new Session(series, labelmap, isTurned => this.#painted(id, isTurned)));
    }
    return this.sessions.get(id);
  }

  /** What is to be said when the panel goes on with a segmentation that is not the only one of its series. */
  #moved(session) {
    if (!session || this.#othersOf(session).length === 0) return '';
    const name = this.controller.viewer.segmentationName(session.labelmap.id);
    return `The panel is on '${name}' now. ${this.othersUnsaved(session)}`.trim();
  }

  /** @returns {Session[]} of the same series */
  #othersOf(session) {
    return [...this.sessions.values()].filter(each => each !== session && each.uid === session.uid);
  }

  /**
   * What was left of a series gets its segmentations back, each its own.
   * @returns {Promise<string>} what is to be said of it; '' for nothing
   */
  async #bringBack(series) {
    const { viewer } = this.controller;
    if (viewer.viewportsOf(series).length === 0) return '';
    const { elsewhere, damaged, others } = await this.#claim(series);
    const works = keptOf(series, this.kept);
    for (const work of works) {
      const id = await viewer.addSegmentation(series, work.structures, work.name);
      if (this.stopped) return '';
      drop(series, this.kept, work);
      resume(this.#begin(id, series), viewer, work);
    }
    const back = works.length > 0 ? isBack(works.at(-1).at) : '';
    return [back, damaged && DAMAGED, elsewhere && ELSEWHERE, keptOfOthers(others)].filter(Boolean).join(' ');
  }

  /** What pages that are gone kept of a series is among what is kept, once it is opened. */
  async #claim(series) {
    if (this.opened === keyOf(series)) return NOTHING;
    this.opened = keyOf(series);
    return this.controller.guarding.claim(series, this.kept);
  }

  /** The user has changed something: what was said before is over. */
  #painted(id, isTurned = false) {
    const session = this.sessions.get(id);
    const { change } = session.history.last; // before what was deleted goes from there
    this.#forgetDeleted(id);
    this.controller.say(isTurned ? TURNED : '');
    if (!isTurned) this.controller.correcting.painted(session, change);
  }

  /** A press begins a stroke, if it is on a viewport. */
  #pressed(target) {
    for (const session of this.sessions.values()) {
      const viewport = this.controller.viewer.viewportsOf(session.series).find(each => each.element.contains(target));
      session.begin(viewport ? planeOf(viewport, session.labelmap.grid) : null);
      if (!viewport) continue;
      this.controller.viewer.beginStroke(viewport);
      this.controller.correcting.pressed();
    }
  }

  #forgetDeleted(id) {
    this.sessions.get(id).keepOnly(new Set(this.controller.viewer.structures(id).map(each => each.value)));
  }
}
