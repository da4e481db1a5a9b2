// The work on one segmentation of one series: what was painted, what came back, what can be undone.
import { applied, merge, reverted } from './merge.js';
import { difference, Touched } from './touched.js';

const QUIET = 250; // ms after the last change of a stroke

export class Session {
  /**
   * @param {any} series OHIF's display set
   * @param {import('./labelmap.js').Labelmap} labelmap
   * @param {() => void} changed called when the user has changed something
   */
  constructor(series, labelmap, changed) {
    this.series = series;
    this.labelmap = labelmap;
    this.touched = new Touched();
    /** the label map as last seen: what differs from it, the user has done */
    this.known = labelmap.read();
    /** @type {import('./merge.js').Change|null} */
    this.lastChange = null;
    /** @type {import('./confidence.js').Structures} */
    this.report = {};
    /** @type {import('./touched.js').Axis} */
    this.axis = 2;
    /** @type {Set<number>} slices that were looked at since the last propagation */
    this.seen = new Set();
    this.unsaved = false;
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
   * @returns {number} voxels that changed
   */
  accept(result, wanted) {
    this.notice();
    const change = merge(this.known, result, this.labelmap.dims, wanted, this.touched);
    this.#show(applied(this.known, change));
    this.lastChange = change;
    this.axis = wanted.axis;
    this.seen = new Set();
    return change.voxels.length;
  }

  /** Take the last result back; what the user has changed since then stays. */
  undo() {
    if (!this.lastChange) return;
    this.notice();
    this.#show(reverted(this.known, this.lastChange));
    this.lastChange = null;
    this.report = {};
  }

  /**
   * Replace everything by a saved label; nothing of it counts as painted.
   * @param {Uint8Array} labels
   */
  replace(labels) {
    this.touched = new Touched();
    this.lastChange = null;
    this.report = {};
    this.#show(labels);
    this.unsaved = false;
  }

  /**
   * Bring in what the user drew on a slice by other means than the brush; it counts as painted.
   * @param {import('./merge.js').Change} change
   * @param {import('./points.js').Clicked} clicked
   */
  draw(change, { value, axis, slice }) {
    if (change.voxels.length === 0) return;
    change.voxels.forEach((voxel, n) => { this.known[voxel] = change.after[n]; });
    this.labelmap.apply(change);
    this.touched.add({ axis, slices: new Map([[value, new Set([slice])]]) });
    this.axis = axis;
    this.unsaved = true;
    this.changed();
  }

  /** @returns {number[]} all slices along the present axis that the user painted or changed, of any structure */
  paintedSlices() {
    return [...this.touched.byValue.keys()].flatMap(value => this.touched.slices(value, this.axis));
  }

  #show(labels) {
    this.known = labels;
    this.labelmap.write(labels);
    this.unsaved = true;
  }
}
