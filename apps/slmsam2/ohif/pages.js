// Which pages with this panel are open in this browser, in any tab or window.
import { newId } from './ids.js';

const CHANNEL = 'slmsam2-pages';
const PATIENCE = 500; // ms that a page has to answer

export class Pages {
  constructor() {
    this.own = newId();
    this.channel = new BroadcastChannel(CHANNEL);
    this.channel.onmessage = ({ data }) => { if (data.asks) this.channel.postMessage({ here: this.own }); };
  }

  /** @returns {Promise<Set<string>>} the names of those that answer, and of this one */
  async open() {
    const names = new Set([this.own]);
    const hear = ({ data }) => { if (data.here) names.add(data.here); };
    this.channel.addEventListener('message', hear);
    this.channel.postMessage({ asks: true });
    await new Promise(resolve => setTimeout(resolve, PATIENCE));
    this.channel.removeEventListener('message', hear);
    return names;
  }
}
