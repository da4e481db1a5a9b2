// What the browser keeps of work that is not submitted: an IndexedDB database, one for each server.

/**
 * @typedef {{series: string, annotator: string, page: string, id: string}} Place `series`: its key; `page`: that keeps it
 * @typedef {Place & {at: number, bytes: number, title: string}} Entry `at`: when it was kept, ms since 1970; `title`: of the series
 */

const DATABASE = 'slmsam2';
const STORE = 'unsubmitted';
const VERSION = 1;

export class Store {
  /** @param {IDBFactory} [factory] */
  constructor(factory = globalThis.indexedDB) {
    this.factory = factory;
    /** @type {Promise<IDBDatabase>|null} */
    this.database = null;
  }

  /** @returns {Promise<Entry[]>} all there are, without what is in them */
  async list() {
    const keys = await this.#within('readonly', store => answered(store.getAllKeys()));
    return keys.map(([series, annotator, page, id, at, bytes, title]) => ({ series, annotator, page, id, at, bytes, title }));
  }

  /**
   * Keep a work in the place of what was there.
   * @param {Place} place
   * @param {import('./packing.js').Packed} packed
   */
  async put(place, packed) {
    await this.#within('readwrite', async store => {
      store.delete(under(place));
      await answered(store.put(packed, keyOf({ ...place, at: Date.now(), bytes: packed.runs.byteLength, title: packed.title })));
    });
  }

  /** @param {Place} place */
  async remove(place) {
    await this.#within('readwrite', store => answered(store.delete(under(place))));
  }

  /**
   * Works that other pages kept are this page's from now on; no other page gets them as well.
   * @param {Entry[]} entries
   * @param {string} page
   * @returns {Promise<{entry: Entry, packed: import('./packing.js').Packed}[]>} those that are still there
   */
  take(entries, page) {
    return this.#within('readwrite', async store => {
      const taken = [];
      for (const entry of entries) {
        const packed = await answered(store.get(keyOf(entry)));
        if (!packed) continue;
        store.delete(under(entry));
        const own = { ...entry, page };
        await answered(store.put(packed, keyOf(own)));
        taken.push({ entry: own, packed });
      }
      return taken;
    });
  }

  /**
   * @template Result
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => Promise<Result>} action
   * @returns {Promise<Result>} once it is on the disk
   */
  async #within(mode, action) {
    const database = await this.#open();
    const transaction = database.transaction(STORE, mode, { durability: 'strict' });
    const written = new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
    const [result] = await Promise.all([action(transaction.objectStore(STORE)), written]);
    return result;
  }

  #open() {
    this.database ??= this.#opened().catch(error => {
      this.database = null;
      throw error;
    });
    return this.database;
  }

  async #opened() {
    const request = this.factory.open(DATABASE, VERSION);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    const database = await answered(request);
    database.onclose = () => { this.database = null; }; // as when the user deletes what sites have stored
    database.onversionchange = () => {
      database.close();
      this.database = null;
    };
    return database;
  }
}

const path = ({ series, annotator, page, id }) => [series, annotator, page, id];

/** All that is known of an entry, so that a list of the keys tells it without what is in them. */
const keyOf = entry => [...path(entry), entry.at, entry.bytes, entry.title];

/** All keys of a place, whenever it was kept: an array sorts behind everything else. */
const under = place => IDBKeyRange.bound(path(place), [...path(place), []]);

/**
 * @template Result
 * @param {IDBRequest<Result>} request
 * @returns {Promise<Result>}
 */
function answered(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
