// Keeps what is not submitted in the browser, for when the page goes away without a word: a crash, a closed tab, a power cut.
import { pack, unpack } from './packing.js';

const MOST_DAYS = 30;
const MOST_BYTES = 2e8; // packed, of all works; one takes some ten thousand to a million
const DAY = 24 * 3600 * 1000;
export const NOTHING = { elsewhere: false, damaged: false, others: [] };

/**
 * @typedef {import('./kept.js').Kept} Kept
 * @typedef {{elsewhere: boolean, damaged: boolean, others: import('./store.js').Entry[]}} Found `elsewhere`: another page that is
 *   open keeps some of the series, too; `others`: what is left of other series, told once
 */

export class Safe {
  /**
   * @param {import('./store.js').Store} store
   * @param {import('./pages.js').Pages} pages
   */
  constructor(store, pages) {
    this.store = store;
    this.pages = pages;
    /** @type {Map<string, {place: import('./store.js').Place, mark: any[]}>} this page's, as they were kept last */
    this.mine = new Map();
    /** whether other series were looked at, too */
    this.looked = false;
    this.last = Promise.resolve();
  }

  /**
   * Keep just these works; what this page kept beside them is removed.
   * @param {string} annotator
   * @param {() => [string, Kept][]} works with the keys of their series
   * @returns {Promise<void>}
   */
  keep(annotator, works) {
    return this.#next(() => this.#keep(annotator, works()));
  }

  /**
   * What pages that are no longer there have left of a series; it is this page's from now on.
   * @param {string} annotator
   * @param {string} series its key
   * @param {(work: Kept) => void} adopt called for each
   * @returns {Promise<Found>}
   */
  claim(annotator, series, adopt) {
    return this.#next(() => this.#claim(annotator, series, adopt));
  }

  /** Remove what is old, and the oldest of what is too much. */
  async tidy() {
    const entries = (await this.store.list()).sort((a, b) => b.at - a.at);
    let bytes = 0;
    for (const entry of entries) {
      bytes += entry.bytes;
      if (entry.at < Date.now() - MOST_DAYS * DAY || bytes > MOST_BYTES) await this.store.remove(entry);
    }
  }

  /** One after the other. */
  #next(action) {
    const result = this.last.then(action);
    this.last = result.catch(() => {});
    return result;
  }

  async #keep(annotator, works) {
    const wanted = new Map(works.map(([series, work]) => {
      const place = this.#place(series, annotator, work.id);
      return [nameOf(place), { place, work, mark: markOf(work) }];
    }));
    for (const [name, { place }] of [...this.mine].filter(([name]) => !wanted.has(name))) { // first: it makes room
      await this.store.remove(place);
      this.mine.delete(name);
    }
    for (const [name, { place, work, mark }] of wanted) {
      if (mark.every((part, n) => part === this.mine.get(name)?.mark[n])) continue;
      const packed = await pack(work);
      await (packed ? this.store.put(place, packed) : this.store.remove(place));
      this.mine.set(name, { place, mark });
    }
  }

  async #claim(annotator, series, adopt) {
    const isOf = each => each.series === series;
    const entries = (await this.store.list())
      .filter(each => each.annotator === annotator && each.page !== this.pages.own && (isOf(each) || !this.looked));
    this.looked = true;
    if (entries.length === 0) return NOTHING;
    const open = await this.pages.open();
    const left = entries.filter(each => !open.has(each.page));
    let damaged = false;
    for (const { entry, packed } of await this.store.take(left.filter(isOf), this.pages.own)) {
      const work = await unpack(packed).catch(error => console.error(error));
      damaged ||= !work; // which the next `keep` removes
      if (work) adopt({ ...work, at: entry.at });
      const place = this.#place(series, annotator, entry.id);
      this.mine.set(nameOf(place), { place, mark: work ? markOf(work) : [] });
    }
    const elsewhere = entries.some(each => isOf(each) && open.has(each.page));
    return { elsewhere, damaged, others: left.filter(each => !isOf(each)) };
  }

  #place(series, annotator, id) {
    return { series, annotator, page: this.pages.own, id };
  }
}

/** Where the browser keeps nothing. */
export const NOWHERE = { keep: async () => {}, claim: async () => NOTHING, tidy: async () => {} };

const nameOf = ({ annotator, id }) => `${annotator} ${id}`;

/** What differs as soon as a work does: with each change of the label map some of its facts are replaced. */
function markOf({ loaded, touched, report, axis, name, structures }) {
  return [loaded, touched, report, axis, name, JSON.stringify(structures)];
}
