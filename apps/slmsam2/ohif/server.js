// MONAI Label's server, as this panel uses it. Every failure is an Error whose message is a sentence for the user.
import { zipped } from './gzip.js';

/** @type {Record<string, unknown>} what a result is written as, here, and over a network: a label packs well */
const PLAIN = { result_extension: '.nii', result_compress: false, result_dtype: 'uint8' };
const PACKED = { result_extension: '.nii.gz', result_dtype: 'uint8' };
const LOST = 'The server does not answer. Your painting is safe in this window; try again when it is back.';

/** An answer other than success. */
export class ServerError extends Error {
  /**
   * @param {string} message
   * @param {number} status HTTP status; 0: no answer at all
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export class Server {
  /**
   * @param {string} browser a name for whoever asks, where nobody signs in and gives theirs
   * @param {string} [base] address without a slash at its end; "": where this page came from
   * @param {boolean} [far] whether there is a network in between, for which labels are packed
   */
  constructor(browser, base = '', far = isFar(globalThis.location?.hostname)) {
    this.browser = browser;
    /** what the user is called, as they say themselves; '' if they do not */
    this.name = '';
    this.base = base;
    this.far = far;
  }

  /** Who asks, where nobody signs in. */
  get client() {
    return this.name || this.browser;
  }

  /** @returns {Promise<any>} models, trainers, train_stats, strategies, labels, datastore */
  info() {
    return this.#json('GET', '/info/');
  }

  /**
   * Run a model on a series.
   * @param {string} model
   * @param {string} series UID
   * @param {Record<string, unknown>} params
   * @param {Uint8Array|null} labels painted label map, one byte per voxel, i fastest
   * @param {AbortSignal} [signal] ends it
   * @returns {Promise<{params: any, file: ArrayBuffer}>}
   */
  async infer(model, series, params, labels, signal) {
    const form = new FormData();
    form.append('params', JSON.stringify({ ...params, ...(this.far ? PACKED : PLAIN), client_id: this.client }));
    if (labels) await this.#addLabels(form, labels);
    const path = `/infer/${encodeURIComponent(model)}?image=${encodeURIComponent(series)}&output=all`;
    const reply = await whole((await this.#ask('POST', path, form, signal)).formData());
    const file = reply.get('image');
    return { params: JSON.parse(await text(reply.get('params'))), file: await /** @type {Blob} */ (file).arrayBuffer() };
  }

  /**
   * How far a request is.
   * @param {string} id the request_id that was sent with it
   * @returns {Promise<{done: number, total: number, before: number}|null>} slices; requests before it; null: not under way
   */
  async progress(id) {
    return this.#json('GET', `/slmsam2/progress/${id}`).catch(unlessMissing);
  }

  /** @param {string} id */
  async cancel(id) {
    await this.#json('DELETE', `/slmsam2/progress/${id}`).catch(unlessMissing);
  }

  /**
   * Let the server fetch and read a series that was opened, before anything is asked of it.
   * @param {string} series UID
   */
  async opened(series) {
    await this.#json('POST', `/slmsam2/opened/${encodeURIComponent(series)}`);
  }

  /**
   * Save a final label; the server sends it to the PACS as DICOM SEG.
   * @param {string} series UID
   * @param {Uint8Array} labels
   * @param {{name: string, id: number, color: number[]}[]} structures
   */
  async saveLabel(series, labels, structures) {
    const form = new FormData();
    form.append('params', JSON.stringify({ label_info: structures, client_id: this.client }));
    await this.#addLabels(form, labels);
    await this.#ask('PUT', `/datastore/label?image=${encodeURIComponent(series)}&tag=final`, form);
  }

  /**
   * The newest final label of a series.
   * @param {string} series UID
   * @returns {Promise<{file: ArrayBuffer, structures: {name: string, id: number}[], made?: string, creator?: string,
   *   isOwn: boolean}|null>} null: there is none; `made`, a date, or a date and time: when; `creator`: by whom, as far as that
   *   is known; `isOwn`: by this browser
   */
  async savedLabel(series) {
    const query = `label=${encodeURIComponent(series)}&tag=final`;
    const response = await this.#ask('GET', `/datastore/label?${query}`).catch(unlessMissing);
    if (!response) return null;
    const info = await this.#json('GET', `/datastore/label/info?${query}`);
    const { label_info: structures = [], made, creator, client_id: client } = info;
    return { file: await whole(response.arrayBuffer()), structures, made, creator, isOwn: client === this.client };
  }

  /**
   * What reviewers say of the newest final label of a series.
   * @param {string} series UID
   * @returns {Promise<import('./reviewing.js').Review|null>} null: there is no label
   */
  async review(series) {
    return (await this.#json('GET', `/slmsam2/review/${encodeURIComponent(series)}`)).label;
  }

  /**
   * Say something of a label, as a reviewer.
   * @param {string} series UID
   * @param {{status: string, comment: string, mark: string}} review `mark`: of the label that it is about
   * @returns {Promise<import('./reviewing.js').Review>} as it is noted
   */
  async saveReview(series, review) {
    return (await this.#json('POST', `/slmsam2/review/${encodeURIComponent(series)}`,
      { ...review, client_id: this.client })).label;
  }

  /**
   * @param {string} strategy
   * @returns {Promise<{id: string, StudyInstanceUID: string}|null>} null: every image has a label
   */
  async nextSample(strategy) {
    const sample = await this.#json('POST', `/activelearning/${encodeURIComponent(strategy)}`, { client_id: this.client });
    return sample.id ? sample : null;
  }

  /** @param {string} trainer */
  train(trainer) {
    return this.#json('POST', `/train/${encodeURIComponent(trainer)}`, {});
  }

  stopTraining() {
    return this.#json('DELETE', '/train/');
  }

  /** @returns {Promise<boolean>} whether a training is under way */
  async isTraining() {
    return (await this.#json('GET', '/train/?check_if_running=true').catch(unlessMissing)) !== null;
  }

  /**
   * @param {FormData} form
   * @param {Uint8Array} labels
   */
  async #addLabels(form, labels) {
    if (this.far) form.append('label', await zipped(labels).blob(), 'label.bin.gz');
    else form.append('label', new Blob([labels]), 'label.bin');
  }

  async #json(method, path, body) {
    return whole((await this.#ask(method, path, body && JSON.stringify(body))).json());
  }

  /** @returns {Promise<Response>} */
  async #ask(method, path, body, signal) {
    const headers = typeof body === 'string' ? { 'Content-Type': 'application/json' } : undefined;
    const response = await whole(fetch(this.base + path, { method, body, headers, signal }));
    if (!response.ok) throw new ServerError(await sentence(response), response.status);
    return response;
  }
}

/**
 * What the network brings; it may break off at any moment.
 * @template Part
 * @param {Promise<Part>} part
 * @returns {Promise<Part>}
 */
function whole(part) {
  return part.catch(() => { throw new ServerError(LOST, 0); });
}

/** @param {string|undefined} host of this page */
export function isFar(host) {
  return host !== undefined && host !== 'localhost' && host !== '[::1]' && !host.startsWith('127.');
}

/** @param {FormDataEntryValue} part */
async function text(part) {
  return typeof part === 'string' ? part : part.text();
}

/** What the server says about a refusal; its own words where it has any. */
async function sentence(response) {
  const body = await response.json().catch(() => null);
  if (typeof body?.detail === 'string') return body.detail;
  return `The server answered with an error (${response.status}). Its log says more.`;
}

/** @param {ServerError} error */
function unlessMissing(error) {
  if (error.status === 404) return null;
  throw error;
}
