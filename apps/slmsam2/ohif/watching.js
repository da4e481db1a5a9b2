// Looks at the server, now and again: whether it answers, what it has, and how its training goes.
import { trainingState } from './training.js';

const PAUSE = { idle: 15000, training: 2000, lost: 3000 }; // ms between looks

export class Watching {
  /**
   * @param {import('./server.js').Server} server
   * @param {() => void} changed called after each look
   */
  constructor(server, changed) {
    this.server = server;
    this.changed = changed;
    /** @type {any|null} the server's last /info/; null: there was none yet */
    this.info = null;
    /** @type {string|null} why there is no connection; null: there is one, or nothing is known yet */
    this.lost = null;
    this.training = trainingState({}, false);
    /** @type {number|null} when the last training that is over began */
    this.ended = null;
    this.timer = 0;
    this.stopped = false;
  }

  /** Whether the server answered the last look. */
  get connected() {
    return this.info !== null && this.lost === null;
  }

  /** Look, and go on looking. */
  async look() {
    try {
      this.info = await this.server.info();
      this.lost = null;
      const running = Object.keys(this.info.trainers ?? {}).length > 0 && await this.server.isTraining();
      this.training = trainingState(this.info, running, this.ended);
      if (!running) this.ended = this.training.started;
    } catch (error) {
      this.lost = error.status ? error.message : 'The server does not answer. Trying again…';
    }
    clearTimeout(this.timer); // of another look that was under way as well
    if (this.stopped) return;
    const pause = this.lost ? PAUSE.lost : this.training.running ? PAUSE.training : PAUSE.idle;
    this.timer = setTimeout(() => this.look(), pause);
    this.changed();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
  }
}
