// Corrections are propagated by themselves, as soon as the user pauses.
import { pointer } from './pointer.js';
import { valuesIn } from './touched.js';

const PAUSE = 1000; // ms without a stroke

export class Correcting {
  /** @param {import('./controller.js').Controller} controller */
  constructor(controller) {
    this.controller = controller;
    /** @type {import('./session.js').Session|null} that is corrected */
    this.session = null;
    /** @type {Set<number>} values of structures that were corrected, and not propagated since */
    this.values = new Set();
    this.timer = 0;
    this.pause = PAUSE;
    /** @type {{values: Set<number>, end: Promise<void>}|null} what is propagated by itself now */
    this.running = null;
  }

  /**
   * The user has painted, or placed points. Structures that were not propagated yet wait for the button.
   * @param {import('./session.js').Session} session
   * @param {import('./merge.js').Change} change
   */
  painted(session, { before, after }) {
    const { controller } = this;
    if (!controller.choice.byItself || session !== controller.session) return;
    if (session !== this.session) this.values = new Set();
    this.session = session;
    const changed = new Set([...valuesIn(before), ...valuesIn(after)]);
    const found = Object.values(session.report.structures).map(each => each.value);
    found.filter(value => changed.has(value)).forEach(value => this.values.add(value));
    if (this.values.size > 0) this.#soon();
  }

  /** A press on the image: what goes on by itself makes way for it. */
  async pressed() {
    if (!this.running) return;
    const values = [...this.running.values, ...this.values];
    await this.forget();
    values.forEach(value => this.values.add(value)); // beside what was painted meanwhile
    this.#soon();
  }

  /**
   * Nothing is propagated by itself of what was corrected so far.
   * @returns {Promise<void>|null} until what is under way has ended; null: nothing is
   */
  forget() {
    clearTimeout(this.timer);
    this.values = new Set();
    if (!this.running) return null;
    this.controller.propagation?.giveWay();
    return this.running.end;
  }

  #soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#go(), this.pause);
  }

  async #go() {
    const { controller, session, values } = this;
    if (session !== controller.session || values.size === 0) return;
    if (this.running || pointer.down || controller.clicking.pending || !controller.canPropagate) {
      this.#soon();
      return;
    }
    this.values = new Set();
    this.running = { values, end: controller.propagateOnly(values) };
    await this.running.end;
    this.running = null;
  }
}
