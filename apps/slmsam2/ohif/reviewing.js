// What reviewers say of the label that is saved for the series: shown, and noted.
import { noted } from './sentences.js';

/** @typedef {'approved'|'flagged'|''} Status '': neither */
/**
 * @typedef {{status: Status, reviewer: string, comment: string, creator: string, made: string, mark: string}} Review
 *   `made`: when the label was saved, ISO 8601; `mark`: of that label
 */

const NOT_SUBMITTED = 'What you have painted is not submitted, and a review is about the label that is saved: submit it first, or press '
  + 'Load saved.';

export class Reviewing {
  /**
   * @param {import('./controller.js').Controller} controller
   * @param {(action: () => Promise<void>) => Promise<void>} attempt shows what goes wrong
   */
  constructor(controller, attempt) {
    this.controller = controller;
    this.attempt = attempt;
    /** @type {Review|null} of the series' saved label; null: there is none, or nothing is known of it */
    this.known = null;
    /** @type {string|null} the series that was opened last */
    this.uid = null;
    /** whether the server was told something, and has not answered yet */
    this.busy = false;
    /** counts what was asked and shown: an answer that something newer has overtaken is not shown */
    this.turn = 0;
    /** whether the last question was not answered */
    this.missed = false;
    /** the server's count of reviews when it was asked last: another one may be of this label */
    this.count = '';
  }

  /** @returns {Review|null} of the saved label of the series that the panel is on; null likewise, or it is on none */
  get review() {
    return this.controller.session ? this.known : null;
  }

  get canReview() {
    return this.review !== null && !this.busy && this.controller.watching.connected;
  }

  /** Ask the server what is known of the label of the series that is opened. */
  async look(uid) {
    if (uid !== this.uid) this.#show(uid, null);
    const turn = this.turn += 1;
    this.missed = false;
    this.count = countOf(this.controller.info);
    try {
      const review = await this.controller.server.review(uid);
      if (turn === this.turn) this.#show(uid, review);
    } catch (error) {
      console.warn(error); // nothing new is shown of it then
      if (turn === this.turn) this.missed = true;
    }
  }

  /** Ask once more, as something was done with the label of a series; nothing, if another series was opened since. */
  async again(uid) {
    if (uid === this.uid) await this.look(uid);
  }

  /** The server was looked at: what it did not answer is asked again once it does, and what was reviewed since. */
  watched() {
    const { watching: { connected }, info } = this.controller;
    if (this.uid !== null && connected && (this.missed || this.count !== countOf(info))) this.look(this.uid);
  }

  /**
   * Note what the user says of the saved label.
   * @param {Status} status
   * @param {string} comment
   * @returns {Promise<boolean>} whether it was noted
   */
  async note(status, comment) {
    const { uid, review, controller } = this;
    if (!this.canReview) return false;
    const isLeft = review.status !== '' && review.status !== status && review.comment === comment;
    const said = isLeft ? '' : comment; // what was to be corrected, say, is none of a label that is right
    let isNoted = false;
    this.busy = true;
    await this.attempt(async () => {
      controller.session.notice();
      if (status === 'approved' && controller.session.unsaved) throw new Error(NOT_SUBMITTED);
      try {
        const now = await controller.server.saveReview(uid, { status, comment: said, mark: review.mark });
        if (uid === this.uid) this.#show(uid, now);
      } catch (error) {
        if (error.status === 409) this.again(uid);
        throw error;
      }
      isNoted = true;
      controller.say(noted(status));
    });
    this.busy = false;
    controller.changed();
    return isNoted;
  }

  /**
   * @param {string} uid
   * @param {Review|null} review
   */
  #show(uid, review) {
    this.turn += 1;
    this.uid = uid;
    this.known = review;
    this.controller.changed();
  }
}

/** @param {any|null} info the server's last /info/ */
function countOf(info) {
  return JSON.stringify(info?.review ?? null);
}
