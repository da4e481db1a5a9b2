// The work on one segmentation of one series: what was painted, what came back, what can be undone.
import { NO_REPORT, withoutThem } from './confidence.js';
import { History } from './history.js';
import { newId } from './ids.js';
import { applied, merge } from './merge.js';
import { pointer } from './pointer.js';
import { giveWay } from './points.js';
import { mainAxis } from './request.js';
import { changedVoxels, difference, equal, filled, sliceVoxels, Touched, valuesAt } from './touched.js';

const QUIET = 250; // ms after the last change of a stroke, if the mouse button is up

export const POINTS = 'drawing by points'; // the name of such a step
const RESTORED = 'restored work'; // likewise

const NOTHING = { voxels: new Uint32Array(), before: new Uint8Array(), after: new Uint8Array() };

/** @typedef {import('./history.js').Facts & {id: string, labels: Uint8Array}} Work what is to be known to go on */

export class Session {
  /**
   * @param {any} series OHIF's display set
   * @param {import('./labelmap.js').Labelmap} labelmap
   * @param {(isTurned?: boolean) => void} changed called when the user has changed something; whether in a plane that lies
   *   askew, of which no slice is given
   */
  constructor(series, labelmap, changed) {
    this.series = series;
    this.labelmap = labelmap;
    /** of the work, wherever it is gone on with */
    this.id = newId();
    /** the label map as last seen: what differs from it, the user has done */
    this.known = labelmap.read();
    /** where the structures were at the beginning: somebody's finished work */
    this.loaded = filled(this.known, labelmap.dims);
    /** what was painted, changed by hand or confirmed since then; replaced, not changed */
    this.touched = new Touched();
    this.history = new History();
    this.report = NO_REPORT;
    /** @type {import('./touched.js').Axis} */
    this.axis = 2;
    /** @type {Set<number>} slices that were looked at since the last propagation */
    this.seen = new Set();
    this.unsaved = false;
    /** at the beginning, or when it was submitted or loaded last */
    this.settled = this.facts;
    /** @type {Set<import('./points.js').Before>} slices that the server draws by points, as they were when it was asked */
    this.drawing = new Set();
    /** whether it is on its way to the server */
    this.submitting = false;
    this.changed = changed;
    this.timer = 0;
    /** @type {import('./shown.js').Plane|null} that is painted in; null: not known */
    this.paintedIn = null;
    /** @type {Set<number>} values of the structures there are, as far as they were told */
    this.values = new Set();
    /** @type {Set<number>} values of structures that were deleted since the last propagation began */
    this.deleted = new Set();
    this.stop = labelmap.onChange(() => this.#noticeSoon());
  }

  get uid() {
    return this.series.SeriesInstanceUID;
  }

  /** Take note of what the user has changed since the last look. */
  notice() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (!this.labelmap.isThere || this.labelmap.holds(this.known)) return; // what was seen last is what there is
    const labels = this.labelmap.read();
    const found = difference(this.known, labels, this.labelmap.dims, this.paintedIn);
    const before = this.facts;
    this.known = labels;
    this.touched = this.touched.with(found);
    if (found.slices.size > 0) this.#goAlong([...found.slices.keys()]);
    this.unsaved = true;
    const slices = new Set([...found.slices.values()].flatMap(each => [...each]));
    this.#did('painting', slices.size === 1 ? [...slices][0] : null, found.change, before);
    this.changed(this.paintedIn?.isTurned && found.slices.size === 0);
  }

  /**
   * Something else begins: what was painted before is a stroke of its own.
   * @param {import('./shown.js').Plane|null} plane that is painted in from now on; null: not known
   */
  begin(plane) {
    if (this.timer !== 0) this.notice();
    this.paintedIn = plane;
  }

  /**
   * Bring a result in. What is known of other structures along this axis stays known.
   * @param {Uint8Array} result
   * @param {import('./merge.js').Wanted} wanted
   * @param {import('./confidence.js').Structures} structures of the report that came with it
   */
  accept(result, wanted, structures) {
    this.notice();
    const before = this.facts;
    const { known: labels } = this;
    const change = merge(labels, result, this.labelmap.dims, wanted, this.given);
    this.#show(applied(labels, change));
    this.drawing.forEach(asked => giveWay(asked, labels, this.known));
    const { axis, ranges } = wanted;
    const others = this.report.axis === axis ? Object.values(this.report.structures) : [];
    const known = [...others.filter(({ value }) => !ranges.has(value)), ...Object.values(structures)];
    this.report = { axis, structures: Object.fromEntries(known.map(each => [each.value, each])) };
    this.axis = axis;
    this.seen = new Set();
    this.#did('propagation', null, change, before);
  }

  /**
   * Take the last step back.
   * @returns {import('./history.js').Step}
   */
  undo() {
    this.notice();
    return this.#go(this.history.undo(this.known));
  }

  /**
   * Do the step again that was taken back last; nothing, if the user has painted since.
   * @returns {import('./history.js').Step|null}
   */
  redo() {
    this.notice();
    return this.history.next ? this.#go(this.history.redo(this.known)) : null;
  }

  /**
   * Replace everything by a saved label, whose slices are given from now on.
   * @param {Uint8Array} labels
   */
  replace(labels) {
    this.notice();
    const before = this.facts;
    const change = this.#changeTo(labels);
    this.loaded = filled(labels, this.labelmap.dims);
    this.touched = new Touched();
    this.axis = 2;
    this.report = NO_REPORT;
    this.#show(labels);
    this.#did('loading', null, change, before);
    this.settle();
  }

  /** What there is now need not be submitted. */
  settle() {
    this.settled = this.facts;
    this.unsaved = false;
  }

  /**
   * Structures that were propagated to a slice and are not given there.
   * @param {number} slice along the present axis
   * @returns {number[]} their values
   */
  openAt(slice) {
    const { given } = this;
    return Object.values(this.structuresReport)
      .filter(({ value, confidence }) => slice in confidence && !given.has(value, this.axis, slice))
      .map(({ value }) => value);
  }

  /**
   * What was found on a slice is right: it is given from now on.
   * @param {number} slice along the present axis
   */
  confirm(slice) {
    this.notice();
    const values = this.openAt(slice);
    if (values.length === 0) return;
    const before = this.facts;
    this.touched = this.touched.with({ axis: this.axis, slices: new Map(values.map(value => [value, new Set([slice])])) });
    this.#did('confirmation', slice, NOTHING, before);
    this.changed();
  }

  /**
   * Forget what is known of structures that were deleted: another one may get the same value.
   * @param {Set<number>} values of those that are there
   */
  keepOnly(values) {
    const gone = [...this.values, ...this.given.byValue.keys()].filter(value => !values.has(value));
    this.values = values;
    if (gone.length === 0) return;
    for (const value of gone) {
      this.deleted.add(value);
      [this.loaded, this.touched].forEach(each => each.forget(value));
    }
    this.report = withoutThem(this.report, gone);
    this.history.forget(gone); // what it would bring back belongs to nothing
  }

  /** @returns {import('./history.js').Facts} */
  get facts() {
    const { loaded, touched, axis, report, seen } = this;
    return { loaded, touched, axis, report, seen };
  }

  /** @returns {Work} */
  get work() {
    return { ...this.facts, id: this.id, labels: this.known };
  }

  /**
   * Go on with work that was left without submitting it; that is a step, too, which can be taken back.
   * @param {Work} work
   */
  resume({ id, labels, loaded, touched, report, axis, seen }) {
    const before = this.facts;
    const change = this.#changeTo(labels);
    this.#show(labels);
    this.unsaved = true;
    Object.assign(this, { id, loaded, touched, report, axis, seen });
    this.#did(RESTORED, null, change, before);
  }

  /**
   * @param {number} value
   * @param {import('./touched.js').Axis} axis
   * @param {number} slice
   * @returns {boolean} whether a structure is on a slice
   */
  isOn(value, axis, slice) {
    return valuesAt(this.known, sliceVoxels(this.labelmap.dims, axis, slice)).includes(value);
  }

  /** @returns {import('./confidence.js').Structures} what the report says of slices along the present axis */
  get structuresReport() {
    return this.report.axis === this.axis ? this.report.structures : {};
  }

  /**
   * @param {import('./points.js').Clicked} clicked
   * @returns {import('./points.js').Before} the slice as it is now
   */
  sliceNow({ axis, slice }) {
    const voxels = sliceVoxels(this.labelmap.dims, axis, slice);
    return { voxels, values: valuesAt(this.known, voxels) };
  }

  /**
   * Bring in what the user drew on a slice by points; it counts as painted. What was drawn one after the other since the
   * first of them is one step.
   * @param {import('./merge.js').Change} change
   * @param {import('./points.js').Clicked} clicked
   * @param {object} start the same for all points placed one after the other
   */
  draw(change, { value, axis, slice }, start) {
    if (change.voxels.length === 0) return;
    const before = this.facts;
    change.voxels.forEach((voxel, n) => { this.known[voxel] = change.after[n]; });
    this.labelmap.apply(change);
    this.touched = this.touched.with({ axis, slices: new Map([[value, new Set([slice])]]) });
    this.#goAlong([value]);
    this.unsaved = true;
    this.#did(POINTS, slice, change, before, start);
    this.changed();
  }

  /** The slices that no propagation changes, and that are its prompts: those that were loaded, painted or changed. */
  get given() {
    const given = new Touched();
    given.join(this.loaded);
    given.join(this.touched);
    return given;
  }

  /** @returns {import('./touched.js').Axis|null} that the last propagation went along */
  get plane() {
    return Object.keys(this.report.structures).length > 0 ? this.report.axis : null;
  }

  /** @returns {number[]} all slices along the present axis that are given, of any structure */
  givenSlices() {
    const { given } = this;
    return [...given.byValue.keys()].flatMap(value => given.slices(value, this.axis));
  }

  /** The present axis is the one that these structures, which were just painted, are propagated along. */
  #goAlong(values) {
    this.axis = mainAxis(values, this.given, this.plane, (...place) => this.isOn(...place));
  }

  /** @returns {import('./merge.js').Change} */
  #changeTo(labels) {
    const voxels = Uint32Array.from(changedVoxels(this.known, labels));
    return { voxels, before: valuesAt(this.known, voxels), after: valuesAt(labels, voxels) };
  }

  /** Note a step that was made. */
  #did(what, slice, change, before, part = null) {
    this.history.add({ what, slice, change, before, after: this.facts, part });
  }

  /** To where a step back, or again, leads; with each change of the label map one of the facts that are compared is replaced. */
  #go({ step, labels, facts }) {
    this.#show(labels);
    Object.assign(this, facts);
    if (['loaded', 'touched', 'report'].every(each => facts[each] === this.settled[each])) this.unsaved = false;
    return step;
  }

  #show(labels) {
    this.unsaved ||= !equal(this.known, labels);
    this.known = labels;
    this.labelmap.write(labels);
  }

  #noticeSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (pointer.down ? this.#noticeSoon() : this.notice()), QUIET);
  }
}
