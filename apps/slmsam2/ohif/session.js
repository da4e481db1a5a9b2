// The work on one segmentation of one series: what was painted, what came back, what can be undone.
import { applied, merge, reverted } from './merge.js';
import { changedVoxels, difference, equal, filled, sliceVoxels, Touched, valuesAt } from './touched.js';

const QUIET = 250; // ms after the last change of a stroke

/**
 * @typedef {object} Step what can be undone
 * @property {string} what it was, for the user
 * @property {import('./merge.js').Change} change
 * @property {import('./confidence.js').Structures} report before it
 * @property {(() => void)|null} untouch makes the same slices count as painted as before it
 * @typedef {object} Work what is to be known to go on
 * @property {Uint8Array} labels
 * @property {Touched} loaded
 * @property {Touched} touched
 * @property {import('./touched.js').Axis} axis
 * @property {import('./confidence.js').Structures} report
 */

export class Session {
  /**
   * @param {any} series OHIF's display set
   * @param {import('./labelmap.js').Labelmap} labelmap
   * @param {() => void} changed called when the user has changed something
   */
  constructor(series, labelmap, changed) {
    this.series = series;
    this.labelmap = labelmap;
    /** the label map as last seen: what differs from it, the user has done */
    this.known = labelmap.read();
    /** where the structures were at the beginning: somebody's finished work */
    this.loaded = filled(this.known, labelmap.dims);
    /** what was painted or changed by hand since then */
    this.touched = new Touched();
    /** @type {Step|null} */
    this.lastChange = null;
    /** @type {import('./confidence.js').Structures} */
    this.report = {};
    /** @type {import('./touched.js').Axis} */
    this.axis = 2;
    /** @type {Set<number>} slices that were looked at since the last propagation */
    this.seen = new Set();
    this.unsaved = false;
    /** whether it is on its way to the server */
    this.submitting = false;
    this.changed = changed;
    this.timer = 0;
    this.stop = labelmap.onChange(() => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.notice(), QUIET);
    });
  }

  get uid() {
    return this.series.SeriesInstanceUID;
  }

  /** Take note of what the user has changed since the last look. */
  notice() {
    clearTimeout(this.timer);
    if (this.labelmap.holds(this.known)) return;
    const labels = this.labelmap.read();
    const found = difference(this.known, labels, this.labelmap.dims);
    this.known = labels;
    this.touched.add(found);
    this.axis = found.axis;
    this.unsaved = true;
    this.changed();
  }

  /**
   * Bring a result in.
   * @param {Uint8Array} result
   * @param {import('./merge.js').Wanted} wanted
   * @param {import('./confidence.js').Structures} report that came with it
   */
  accept(result, wanted, report) {
    this.notice();
    const change = merge(this.known, result, this.labelmap.dims, wanted, this.given);
    this.#show(applied(this.known, change));
    this.lastChange = { what: 'propagation', change, report: this.report, untouch: null };
    this.report = report;
    this.axis = wanted.axis;
    this.seen = new Set();
  }

  /**
   * Take the last step back; what the user has changed since then stays.
   * @returns {string} what it was
   */
  undo() {
    this.notice();
    const { what, change, report, untouch } = this.lastChange;
    this.#show(reverted(this.known, change));
    this.lastChange = null;
    this.report = report;
    untouch?.();
    return what;
  }

  /**
   * Replace everything by a saved label, whose slices are given from now on.
   * @param {Uint8Array} labels
   */
  replace(labels) {
    this.notice();
    const { loaded, touched, report } = this;
    const voxels = Uint32Array.from(changedVoxels(this.known, labels));
    const change = { voxels, before: valuesAt(this.known, voxels), after: valuesAt(labels, voxels) };
    const untouch = () => {
      touched.join(this.touched);
      Object.assign(this, { loaded, touched });
    };
    this.loaded = filled(labels, this.labelmap.dims);
    this.touched = new Touched();
    this.axis = 2;
    this.report = {};
    this.#show(labels);
    this.lastChange = { what: 'loading', change, report, untouch };
    this.unsaved = false;
  }

  /**
   * Forget what is known of structures that were deleted: another one may get the same value.
   * @param {Set<number>} values of those that are there
   */
  keepOnly(values) {
    const gone = [...this.given.byValue.keys()].filter(value => !values.has(value));
    if (gone.length === 0) return;
    for (const value of gone) [this.loaded, this.touched].forEach(each => each.forget(value));
    this.report = Object.fromEntries(Object.entries(this.report).filter(([, { value }]) => values.has(value)));
    this.lastChange = null; // what it would bring back belongs to nothing
  }

  /** @returns {Work} */
  get work() {
    const { known, loaded, touched, axis, report } = this;
    return { labels: known, loaded, touched, axis, report };
  }

  /** Go on with work that was left without submitting it. */
  resume({ labels, loaded, touched, axis, report }) {
    this.#show(labels);
    Object.assign(this, { loaded, touched, axis, report });
  }

  /**
   * @param {import('./points.js').Clicked} clicked
   * @returns {import('./points.js').Before} the slice as it is now
   */
  sliceNow({ value, axis, slice }) {
    const voxels = sliceVoxels(this.labelmap.dims, axis, slice);
    const touched = this.touched.slices(value, axis).includes(slice);
    return { voxels, values: valuesAt(this.known, voxels), touched };
  }

  /**
   * Bring in what the user drew on a slice by points; it counts as painted. Undo takes back all that was drawn since
   * the first of them.
   * @param {import('./merge.js').Change} change
   * @param {import('./points.js').Clicked} clicked
   * @param {import('./points.js').Before} before
   */
  draw(change, { value, axis, slice }, before) {
    if (change.voxels.length === 0) return;
    change.voxels.forEach((voxel, n) => { this.known[voxel] = change.after[n]; });
    this.labelmap.apply(change);
    this.touched.add({ axis, slices: new Map([[value, new Set([slice])]]) });
    this.lastChange = {
      what: 'drawing by points',
      change: { voxels: before.voxels, before: before.values, after: valuesAt(this.known, before.voxels) },
      report: this.report,
      untouch: before.touched ? null : () => this.#untouch(before, { value, axis, slice }),
    };
    this.axis = axis;
    this.unsaved = true;
    this.changed();
  }

  /** The slices that no propagation changes, and that are its prompts: those that were loaded, painted or changed. */
  get given() {
    const given = new Touched();
    given.join(this.loaded);
    given.join(this.touched);
    return given;
  }

  /** @returns {number[]} all slices along the present axis that are given, of any structure */
  givenSlices() {
    const { given } = this;
    return [...given.byValue.keys()].flatMap(value => given.slices(value, this.axis));
  }

  /** A slice that is as it was before the points counts as before them; one that was painted since then does not. */
  #untouch({ voxels, values }, { value, axis, slice }) {
    if (equal(valuesAt(this.known, voxels), values)) this.touched.remove(value, axis, slice);
  }

  #show(labels) {
    this.known = labels;
    this.labelmap.write(labels);
    this.unsaved = true;
  }
}
