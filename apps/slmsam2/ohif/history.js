// What was done, step by step, to be taken back and done again.
import { withoutThem } from './confidence.js';
import { applied, joined, reverted, without } from './merge.js';

const MOST_STEPS = 200;
const MOST_VOXELS = 5e7; // changed in all steps: 6 bytes each

/**
 * @typedef {object} Facts what is known beside the label map; replaced, not changed in place, but for what is deleted
 * @property {import('./touched.js').Touched} loaded
 * @property {import('./touched.js').Touched} touched
 * @property {import('./confidence.js').Report} report
 * @property {import('./touched.js').Axis} axis
 * @property {Set<number>} seen grows until the next propagation
 * @typedef {object} Step
 * @property {string} what it was, for the user
 * @property {number|null} slice that it was on; null: several
 * @property {import('./merge.js').Change} change
 * @property {Facts} before
 * @property {Facts} after
 * @property {unknown} [part] steps with the same one, one after the other, are one step
 */

export class History {
  constructor() {
    /** @type {Step[]} the newest last */
    this.done = [];
    /** @type {Step[]} taken back, the last one last */
    this.undone = [];
  }

  /** @returns {Step|undefined} what would be taken back */
  get last() {
    return this.done.at(-1);
  }

  /** @returns {Step|undefined} what would be done again */
  get next() {
    return this.undone.at(-1);
  }

  /** @param {Step} step */
  add(step) {
    const { last } = this;
    const isOne = last && step.part && last.part === step.part;
    if (isOne) this.done.pop();
    this.done.push(isOne ? { ...step, before: last.before, change: joined(last.change, step.change) } : step);
    this.undone = [];
    let voxels = this.done.reduce((sum, { change }) => sum + change.voxels.length, 0);
    while (this.done.length > MOST_STEPS || (voxels > MOST_VOXELS && this.done.length > 1)) {
      voxels -= this.done.shift().change.voxels.length;
    }
  }

  /**
   * Take the last step back.
   * @param {Uint8Array} labels
   * @returns {{step: Step, labels: Uint8Array, facts: Facts}} as it was before it
   */
  undo(labels) {
    const step = this.done.pop();
    this.undone.push(step);
    return { step, labels: reverted(labels, step.change), facts: step.before };
  }

  /**
   * Do the step again that was taken back last.
   * @param {Uint8Array} labels
   * @returns {{step: Step, labels: Uint8Array, facts: Facts}} as it was after it
   */
  redo(labels) {
    const step = this.undone.pop();
    this.done.push(step);
    return { step, labels: applied(labels, step.change), facts: step.after };
  }

  /**
   * Structures were deleted: nothing of them comes back; steps of which nothing is left are forgotten.
   * @param {number[]} gone their values
   */
  forget(gone) {
    [this.done, this.undone] = [this.done, this.undone].map(steps => steps.flatMap(step => {
      const change = without(step.change, gone);
      if (change.voxels.length === 0 && step.change.voxels.length > 0) return [];
      return [{ ...step, change, before: factsWithout(step.before, gone), after: factsWithout(step.after, gone) }];
    }));
  }
}

/** @returns {Facts} in which nothing is left of deleted structures */
function factsWithout(facts, gone) {
  for (const value of gone) [facts.loaded, facts.touched].forEach(each => each.forget(value));
  return { ...facts, report: withoutThem(facts.report, gone) };
}
