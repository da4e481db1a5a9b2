// Submit, load what was saved, next sample: what may cost painting that was not submitted asks first.
import { drop, keptOf } from './kept.js';
import { readLabels } from './nifti.js';
import { loaded, UNSAVED } from './sentences.js';
import { checkStructures, nextValue } from './structures.js';
import { valuesIn } from './touched.js';

const DOUBLE = 600; // ms in which a second press is still the first one
const NEVER = { action: '', at: -Infinity };

/** Thrown instead of doing something: doing it again means yes. */
class Question extends Error {
  /**
   * @param {string} action
   * @param {string} question
   */
  constructor(action, question) {
    super(question);
    this.action = action;
  }
}

export class Saving {
  /**
   * @param {import('./controller.js').Controller} controller
   * @param {(action: () => Promise<void>) => Promise<void>} attempt shows what goes wrong
   */
  constructor(controller, attempt) {
    this.controller = controller;
    this.attempt = attempt;
    /** @type {'submit'|'load'|'next'|null} what is under way */
    this.busy = null;
    /** the action before which the user is asked whether unsaved painting may go, and since when, ms */
    this.asked = NEVER;
  }

  async submit() {
    const { controller } = this;
    const { session } = controller;
    if (!controller.canSave) return;
    await this.#alone('submit', async () => {
      checkStructures(controller.structures);
      session.notice();
      const present = valuesIn(session.known);
      const structures = controller.structures.filter(each => present.has(each.value))
        .map(({ name, value, color }) => ({ name, id: value, color: color.slice(0, 3) }));
      if (structures.length === 0) throw new Error('There is nothing to submit: paint a structure first.');
      controller.say('Submitting…');
      await this.#send(session, structures);
      const names = structures.map(each => each.name).join(', ');
      controller.say(`Submitted: ${names}. ${controller.following.othersUnsaved(session)}`.trim());
    });
    controller.watching.look();
    controller.reviewing.again(session.uid);
  }

  /** Go on from the newest label that was saved for the series. What is unsaved goes only when called again. */
  async load() {
    const { controller } = this;
    const { session } = controller;
    if (!controller.canSave || this.#isDouble('load')) return;
    await this.#alone('load', async () => {
      const anyway = this.asked.action === 'load';
      const check = () => {
        session.notice();
        if (session.unsaved && !anyway) {
          throw new Question('load', `${UNSAVED} Submit it, or press Load saved again to replace it.`);
        }
      };
      check();
      controller.say('Loading…');
      const saved = await controller.server.savedLabel(session.uid);
      if (!saved) throw new Error('No label is saved for this series.');
      const { data, dims } = await readLabels(saved.file);
      if (String(dims) !== String(session.labelmap.dims)) throw new Error('The saved label does not fit this series.');
      check(); // it may have been painted meanwhile
      controller.clicking.forget();
      session.replace(this.#withOwnValues(session, data, saved.structures));
      controller.say(loaded(saved));
    });
    controller.reviewing.again(session.uid);
  }

  /** Unsaved painting is left behind only when this is called again. */
  async nextSample() {
    const { following, watching, server } = this.controller;
    if (this.busy || this.#isDouble('next')) return;
    await this.#alone('next', async () => {
      const anyway = this.asked.action === 'next';
      for (const session of following.sessions.values()) session.notice();
      if (following.unsaved && !anyway) {
        throw new Question('next', `${UNSAVED} Submit it, or press Next sample again to leave it.`);
      }
      this.controller.say('Looking for the next sample…');
      const [strategy] = Object.keys(watching.info?.strategies ?? { random: {} });
      const sample = await server.nextSample(strategy);
      if (!sample) throw new Error('Every image has a label: there is no next one.');
      following.leaveAll();
      await this.controller.guarding.now();
      const query = new URLSearchParams({ StudyInstanceUIDs: sample.StudyInstanceUID, SeriesInstanceUIDs: sample.id });
      window.location.search = query.toString();
    });
  }

  /** Something else was said: the question is over. */
  forgetQuestion() {
    this.asked = NEVER;
  }

  /** Whether a press belongs to the one that brought up the question before this action: a double click is no yes. */
  #isDouble(action) {
    return this.asked.action === action && Date.now() - this.asked.at < DOUBLE;
  }

  async #send(session, structures) {
    const { following, guarding, server } = this.controller;
    const { settled } = session;
    session.settle(); // what is painted while it is on its way is unsaved again
    session.submitting = true;
    try {
      await server.saveLabel(session.uid, session.known, structures);
    } catch (error) {
      Object.assign(session, { settled, unsaved: true });
      throw error;
    } finally {
      session.submitting = false;
    }
    const left = keptOf(session.series, following.kept).find(work => work.labels === session.known);
    if (!session.unsaved) drop(session.series, following.kept, left);
    guarding.now(); // what is submitted does not come back
  }

  /** Saved structures under the values that a session's label map has for their names; unknown names are added. */
  #withOwnValues({ labelmap: { id: segmentation } }, labels, saved) {
    const { viewer } = this.controller;
    const own = new Uint8Array(256);
    for (const { name, id } of saved) {
      const structures = viewer.structures(segmentation);
      const known = structures.find(each => each.name === name);
      own[id] = known?.value ?? nextValue(structures);
      if (!known) viewer.addStructure(segmentation, own[id], name);
    }
    return labels.map(value => own[value]);
  }

  /** Do one of these; no second one meanwhile. */
  async #alone(name, action) {
    this.busy = name;
    let question = null;
    await this.attempt(async () => {
      try {
        await action();
      } catch (error) {
        if (error instanceof Question) question = error;
        throw error;
      }
    });
    if (question) this.asked = { action: question.action, at: Date.now() };
    this.busy = null;
    this.controller.changed();
  }
}
