// When work that is not submitted is kept in the browser: soon after each change, and never during a stroke.
import { add, keyOf, workOf } from './kept.js';
import { pointer } from './pointer.js';
import { NOTHING } from './safe.js';
import { NOT_KEPT } from './sentences.js';

const SOON = 1000; // ms after a change
const SHARE = 20; // of the time at most one part is spent on it
const RETRY = 60000; // ms, after it failed

export class Guarding {
  /**
   * @param {import('./controller.js').Controller} controller
   * @param {import('./safe.js').Safe} safe
   */
  constructor(controller, safe) {
    this.controller = controller;
    this.safe = safe;
    this.timer = 0;
    this.pause = SOON;
    /** whether anything has changed since the last look */
    this.due = false;
    /** whether the last look failed, which the user was told then */
    this.failed = false;
  }

  /** @returns {() => void} ends it; what was left is kept once more */
  start() {
    const soon = () => this.#soon();
    this.controller.addEventListener('change', soon);
    this.safe.tidy().catch(error => console.warn(error)); // what matters is whether anything can be kept
    return () => {
      this.controller.removeEventListener('change', soon);
      clearTimeout(this.timer);
      this.now();
    };
  }

  /** Let the browser keep what is not submitted now, and nothing else. */
  async now() {
    const start = performance.now();
    this.due = false;
    try {
      await this.safe.keep(this.annotator, () => this.#works());
      this.failed = false;
    } catch (error) {
      console.warn(error);
      if (!this.failed) this.controller.say(NOT_KEPT, true);
      this.failed = true;
    }
    this.pause = this.failed ? RETRY : Math.max(SOON, SHARE * (performance.now() - start));
  }

  /**
   * What pages that are gone kept of a series comes to what is kept here.
   * @param {any} series that is opened
   * @param {Map<string, import('./kept.js').Kept[]>} kept by the series' key
   * @returns {Promise<import('./safe.js').Found>}
   */
  claim(series, kept) {
    return this.safe.claim(this.annotator, keyOf(series), work => add(series, kept, work)).catch(error => {
      console.warn(error);
      return NOTHING;
    });
  }

  /** Whose work it is: of whoever signed in, else of this browser. */
  get annotator() {
    const { info, server } = this.controller;
    return info?.annotator ?? server.browser;
  }

  /** @returns {[string, import('./kept.js').Kept][]} what is not submitted, with the keys of its series */
  #works() {
    const { viewer, following: { sessions, kept } } = this.controller;
    const open = [...sessions.values()]
      .filter(each => (each.unsaved || each.submitting) && viewer.hasSegmentation(each.labelmap.id))
      .map(each => /** @type {[string, any]} */ ([keyOf(each.series), workOf(each, viewer)]));
    return [...open, ...[...kept].flatMap(([key, works]) => works.map(work => /** @type {[string, any]} */ ([key, work])))];
  }

  #soon() {
    this.due = true;
    this.timer ||= setTimeout(() => this.#look(), this.pause);
  }

  async #look() {
    if (!pointer.down) await this.now();
    this.timer = 0;
    if (this.due) this.#soon(); // changed meanwhile, or a stroke is under way
  }
}
