// What the panel's buttons do.
import { Clicking } from './clicking.js';
import { nextToCheck, sliceConfidences } from './confidence.js';
import { drop, keptOf, leave, resume } from './kept.js';
import { Labelmap } from './labelmap.js';
import { readLabels } from './nifti.js';
import { Propagation } from './propagation.js';
import { BACK, UNSAVED, found, notAsked, othersUnsaved } from './sentences.js';
import { Session } from './session.js';
import { checkName, checkStructures, firstStructures } from './structures.js';
import { valuesIn } from './touched.js';
import { trainingState } from './training.js';

const MODEL = 'slmsam2';
const CALM = 30; // ms: OHIF changes several things at once
const LOOK = { idle: 15000, training: 2000, lost: 3000 }; // ms between looks at the server
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

/**
 * Events: "change", whenever the panel has to be drawn anew.
 */
export class Controller extends EventTarget {
  /**
   * @param {import('./viewer.js').Viewer} viewer
   * @param {import('./server.js').Server} server
   * @param {Map<string, import('./kept.js').Kept[]>} [kept] by the series' key
   */
  constructor(viewer, server, kept = new Map()) {
    super();
    this.viewer = viewer;
    this.server = server;
    this.kept = kept;
    /** @type {Map<string, Session>} by the segmentation's id */
    this.sessions = new Map();
    /** @type {Session|null} */
    this.session = null;
    /** @type {any|null} the server's /info/; null: not connected */
    this.info = null;
    /** @type {string|null} why there is no connection; null: there is one, or nothing is known yet */
    this.lost = null;
    this.training = trainingState({}, false);
    /** @type {number|null} when the last training that is over began */
    this.ended = null;
    /** @type {Propagation|null} */
    this.propagation = null;
    /** @type {{done: number, total: number}} */
    this.progress = { done: 0, total: 0 };
    this.message = { text: '', failed: false };
    /** @type {{scope: 'all'|'active', direction: import('./request.js').Direction, limit: number|null}} */
    this.choice = { scope: 'all', direction: 'both', limit: null };
    /** of the tools: radius of brush and eraser, mm; intensities that the threshold brush takes */
    this.brush = { radius: 15, range: [-50, 200] };
    this.clicking = new Clicking(this, action => this.#try(action));
    /** whether a label is on its way to the server or from it */
    this.saving = false;
    /** the action before which the user is asked whether unsaved painting may go, and since when, ms */
    this.asked = NEVER;
    this.timers = { sync: 0, look: 0 };
    this.stopped = false;
    /** what is under way; one after the other, or a series would get two segmentations */
    this.syncing = Promise.resolve();
  }

  /** @returns {() => void} ends it */
  start() {
    const stop = this.viewer.onChange(() => this.#syncSoon());
    this.syncing = this.#look(); // the first segmentation takes the server's structures
    this.#syncSoon();
    return () => {
      this.stopped = true;
      stop();
      this.clicking.end();
      this.clicking.forget();
      clearTimeout(this.timers.look);
      clearTimeout(this.timers.sync);
      for (const session of this.sessions.values()) leave(session, this.viewer, this.kept);
      this.sessions.clear();
      this.session = null;
    };
  }

  get structures() {
    return this.session ? this.viewer.structures(this.session.labelmap.id) : [];
  }

  get activeStructure() {
    return this.structures.find(each => each.active) ?? this.structures[0] ?? null;
  }

  get confidences() {
    return this.session ? sliceConfidences(this.session.report) : [];
  }

  get canPropagate() {
    return Boolean(this.session && this.info?.models?.[MODEL] && !this.propagation);
  }

  get canUndo() {
    return Boolean(this.session?.lastChange && !this.propagation);
  }

  get canSave() {
    return Boolean(this.session && this.info && !this.propagation && !this.saving);
  }

  get unsaved() {
    return this.kept.size > 0 || [...this.sessions.values()].some(session => session.unsaved);
  }

  get currentSlice() {
    if (!this.session) return null;
    return this.viewer.currentSlice(this.session.series, this.session.labelmap.grid, this.session.axis);
  }

  /** @param {string} toolName of OHIF, for the left mouse button */
  activateTool(toolName) {
    this.clicking.end();
    this.viewer.activateTool(toolName);
    this.#changed();
  }

  togglePoints() {
    this.clicking.toggle();
    this.#changed();
  }

  /** @param {string} name empty: one is made up */
  addStructure(name) {
    this.#try(() => {
      const values = this.structures.map(each => each.value);
      const value = Math.max(0, ...values) + 1;
      if (value > 254) throw new Error('There are 254 structures: that is as many as a label map holds.');
      checkName(this.structures, name, value);
      this.viewer.addStructure(this.#id, value, name || `Structure ${value}`);
    });
  }

  renameStructure(value, name) {
    this.#try(() => {
      checkName(this.structures, name, value);
      this.viewer.renameStructure(this.#id, value, name);
    });
  }

  activateStructure(value) {
    this.viewer.activateStructure(this.#id, value);
    this.#changed();
  }

  colourStructure(value, color) {
    this.viewer.colourStructure(this.#id, value, color);
    this.#changed();
  }

  /** Propagate what was chosen. */
  async propagate() {
    const { scope, direction, limit } = this.choice;
    const { session } = this;
    if (!session || this.propagation) return;
    const named = this.structures;
    this.propagation = new Propagation(this.server, MODEL, progress => {
      this.progress = progress;
      this.#changed();
    });
    this.progress = { done: 0, total: 0 };
    this.#say('');
    await this.#try(async () => {
      checkStructures(this.structures);
      const structures = scope === 'active' ? [this.activeStructure] : named;
      const { reply, leftOut } = await this.propagation.run(session, { structures, named, direction, limit });
      this.#say([found(reply), ...leftOut.map(notAsked)].join(' '));
    });
    this.propagation = null;
    this.#look();
    this.#changed();
  }

  cancel() {
    const cancelled = this.#try(() => this.propagation?.cancel());
    this.#changed(); // it is shown before the server answers
    return cancelled;
  }

  undo() {
    if (!this.canUndo) return;
    this.clicking.forget();
    this.#try(() => this.#say(`The last ${this.session.undo()} was taken back.`));
  }

  showSlice(slice) {
    const { session } = this;
    if (!session) return;
    const { grid } = session.labelmap;
    session.seen.add(slice);
    if (!this.viewer.showSlice(session.series, grid, session.axis, slice)) {
      this.#say('No viewport shows the plane that you painted in. Choose a layout that does, such as MPR.', true);
    }
    this.#changed();
  }

  nextToCheck() {
    if (!this.session) return;
    const painted = new Set(this.session.givenSlices());
    const slice = nextToCheck(this.confidences, this.session.seen, painted);
    if (slice === null) this.#say('You have looked at every slice.');
    else this.showSlice(slice);
  }

  async submit() {
    const { session } = this;
    if (!this.canSave) return;
    await this.#save(async () => {
      checkStructures(this.structures);
      session.notice();
      const present = valuesIn(session.known);
      const structures = this.structures.filter(each => present.has(each.value))
        .map(({ name, value, color }) => ({ name, id: value, color: color.slice(0, 3) }));
      if (structures.length === 0) throw new Error('There is nothing to submit: paint a structure first.');
      this.#say('Submitting…');
      await this.#send(session, structures);
      const names = structures.map(each => each.name).join(', ');
      this.#say(`Submitted: ${names}. ${this.#othersUnsaved(session)}`.trim());
    });
    this.#look();
  }

  /** Go on from the newest label that was saved for the series. What is unsaved goes only when called again. */
  async load() {
    const { session } = this;
    if (!this.canSave || this.#isDouble('load')) return;
    await this.#save(async () => {
      const anyway = this.asked.action === 'load';
      const check = () => {
        session.notice();
        if (session.unsaved && !anyway) {
          throw new Question('load', `${UNSAVED} Submit it, or press Load saved again to replace it.`);
        }
      };
      check();
      this.#say('Loading…');
      const saved = await this.server.savedLabel(session.uid);
      if (!saved) throw new Error('No label is saved for this series.');
      const { data, dims } = await readLabels(saved.file);
      if (String(dims) !== String(session.labelmap.dims)) throw new Error('The saved label does not fit this series.');
      check(); // it may have been painted meanwhile
      this.clicking.forget();
      session.replace(this.#withOwnValues(data, saved.structures));
      const names = saved.structures.map(each => each.name).join(', ');
      this.#say(`Loaded: ${names}. These slices count as yours: Propagate fills only the others.`);
    });
  }

  /** Unsaved painting is left behind only when this is called again. */
  async nextSample() {
    if (this.#isDouble('next')) return;
    await this.#save(async () => {
      const anyway = this.asked.action === 'next';
      for (const session of this.sessions.values()) session.notice();
      if (this.unsaved && !anyway) {
        throw new Question('next', `${UNSAVED} Submit it, or press Next sample again to leave it.`);
      }
      const [strategy] = Object.keys(this.info?.strategies ?? { random: {} });
      const sample = await this.server.nextSample(strategy);
      if (!sample) throw new Error('Every image has a label: there is no next one.');
      for (const session of this.sessions.values()) session.unsaved = false;
      this.kept.clear();
      const query = new URLSearchParams({ StudyInstanceUIDs: sample.StudyInstanceUID, SeriesInstanceUIDs: sample.id });
      window.location.search = query.toString();
    });
  }

  async train() {
    await this.#try(async () => {
      await this.server.train(this.training.trainer);
      this.#say('Training has begun.');
    });
    await this.#look();
  }

  async stopTraining() {
    await this.#try(() => this.server.stopTraining());
    await this.#look();
  }

  /** Whether a press belongs to the one that brought up the question before this action: a double click is no yes. */
  #isDouble(action) {
    return this.asked.action === action && Date.now() - this.asked.at < DOUBLE;
  }

  async #send(session, structures) {
    session.unsaved = false; // what is painted while it is on its way sets it again
    session.submitting = true;
    try {
      await this.server.saveLabel(session.uid, session.known, structures);
    } catch (error) {
      session.unsaved = true;
      throw error;
    } finally {
      session.submitting = false;
    }
    const left = keptOf(session.series, this.kept).find(work => work.labels === session.known);
    if (!session.unsaved) drop(session.series, this.kept, left);
  }

  get #id() {
    return this.session.labelmap.id;
  }

  /** Saved structures under the values that this label map has for their names; unknown names are added. */
  #withOwnValues(labels, saved) {
    const own = new Uint8Array(256);
    for (const { name, id } of saved) {
      if (!this.structures.some(each => each.name === name)) this.addStructure(name);
      own[id] = this.structures.find(each => each.name === name).value;
    }
    return labels.map(value => own[value]);
  }

  #syncSoon() {
    clearTimeout(this.timers.sync);
    this.timers.sync = setTimeout(() => {
      this.syncing = this.syncing.then(() => this.#try(() => this.#sync()));
    }, CALM);
  }

  /** Follow OHIF: which series and which segmentation the user works on. */
  async #sync() {
    for (const [id, session] of this.sessions) {
      if (this.viewer.hasSegmentation(id)) continue;
      session.stop();
      this.sessions.delete(id);
    }
    const series = this.viewer.activeSeries();
    const isBack = series && await this.#bringBack(series);
    const id = series && await this.viewer.segmentationOf(series, firstStructures(this.info));
    if (this.stopped) return;
    if (id) this.#begin(id, series);
    const session = this.sessions.get(id) ?? null;
    if (session !== this.session) {
      this.clicking.end();
      this.#say(isBack ? BACK : this.#moved(session));
    }
    this.session = session;
    session?.notice(); // what was deleted of a structure, before the structure is forgotten
    if (session) this.#forgetDeleted(id);
    this.#changed();
  }

  /** @returns {Session} of a segmentation, a new one if it has none */
  #begin(id, series) {
    if (!this.sessions.has(id)) {
      const labelmap = new Labelmap(id, this.viewer.cornerstone, this.viewer.tools);
      this.sessions.set(id, new Session(series, labelmap, () => this.#painted(id)));
    }
    return this.sessions.get(id);
  }

  /** What is to be said when the panel goes on with a segmentation that is not the only one of its series. */
  #moved(session) {
    if (!session || this.#othersOf(session).length === 0) return '';
    const name = this.viewer.segmentationName(session.labelmap.id);
    return `The panel is on '${name}' now. ${this.#othersUnsaved(session)}`.trim();
  }

  /** A sentence on the other segmentations of a session's series that are not submitted; '' if there are none. */
  #othersUnsaved(session) {
    const unsaved = this.#othersOf(session).filter(each => each.unsaved);
    return othersUnsaved(unsaved.map(each => this.viewer.segmentationName(each.labelmap.id)));
  }

  /** @returns {Session[]} of the same series */
  #othersOf(session) {
    return [...this.sessions.values()].filter(each => each !== session && each.uid === session.uid);
  }

  /**
   * What was left of a series gets its segmentations back, each its own.
   * @returns {Promise<boolean>} whether there was anything
   */
  async #bringBack(series) {
    const works = keptOf(series, this.kept);
    if (this.viewer.viewportsOf(series).length === 0) return false;
    for (const work of works) {
      const id = await this.viewer.addSegmentation(series, work.structures, work.name);
      if (this.stopped) return false;
      drop(series, this.kept, work);
      resume(this.#begin(id, series), this.viewer, work);
    }
    return works.length > 0;
  }

  /** The user has changed something: what was said before is over. */
  #painted(id) {
    this.#forgetDeleted(id);
    this.#say('');
  }

  #forgetDeleted(id) {
    this.sessions.get(id).keepOnly(new Set(this.viewer.structures(id).map(each => each.value)));
  }

  /** Ask the server how it is, now and again. */
  async #look() {
    try {
      this.info = await this.server.info();
      this.lost = null;
      const running = Object.keys(this.info.trainers ?? {}).length > 0 && await this.server.isTraining();
      this.training = trainingState(this.info, running, this.ended);
      if (!running) this.ended = this.training.started;
    } catch (error) {
      this.info = null;
      this.lost = error.status ? error.message : 'The server does not answer. Trying again…';
    }
    clearTimeout(this.timers.look); // of another look that was under way as well
    if (this.stopped) return;
    const pause = this.lost ? LOOK.lost : this.training.running ? LOOK.training : LOOK.idle;
    this.timers.look = setTimeout(() => this.#look(), pause);
    this.#changed();
  }

  /** Do something with saved labels; no second one meanwhile. */
  async #save(action) {
    this.saving = true;
    await this.#try(action);
    this.saving = false;
    this.#changed();
  }

  /** Do something; what goes wrong is shown as its sentence. */
  async #try(action) {
    try {
      await action();
    } catch (error) {
      console.error(error);
      this.#say(error.message, true);
      if (error instanceof Question) this.asked = { action: error.action, at: Date.now() };
    }
    this.#changed();
  }

  #say(text, failed = false) {
    this.message = { text, failed };
    this.asked = NEVER;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}
