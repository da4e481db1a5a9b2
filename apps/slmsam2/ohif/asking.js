// One inference: it can be given up at any time, whether the server answers or not.
import { newId } from './ids.js';

export class Asking {
  /** @param {import('./server.js').Server} server */
  constructor(server) {
    this.server = server;
    this.id = newId();
    this.abort = new AbortController();
  }

  /** As the server's `infer`; ends in an error as soon as it is given up. */
  infer(model, series, params, labels) {
    return this.server.infer(model, series, { ...params, request_id: this.id }, labels, this.abort.signal);
  }

  get givenUp() {
    return this.abort.signal.aborted;
  }

  /** Wait no longer, and tell the server; one that cannot be reached has lost the connection anyway. */
  async giveUp() {
    this.abort.abort();
    await this.server.cancel(this.id).catch(error => console.warn(error));
  }
}
