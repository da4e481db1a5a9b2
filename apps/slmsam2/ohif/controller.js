// What the panel's buttons do.
import { Clicking } from './clicking.js';
import { nextToCheck, sliceConfidences } from './confidence.js';
import { Correcting } from './correcting.js';
import { Following } from './following.js';
import { planeName } from './geometry.js';
import { Guarding } from './guarding.js';
import { prefer, preference } from './preferences.js';
import { Propagation } from './propagation.js';
import { Reviewing } from './reviewing.js';
import { NOWHERE } from './safe.js';
import { Saving } from './saving.js';
import { NO_VIEWPORT, confirmed, doneAgain, found, leftLocked, notAsked, orAcross, takenBack, toCheck } from './sentences.js';
import { POINTS } from './session.js';
import { checkName, checkStructures, nextValue, unlocked } from './structures.js';
import { Watching } from './watching.js';

const MODEL = 'slmsam2';
const BY_ITSELF = 'by-itself'; // kept for the images that follow
const NAME = 'name'; // likewise
const NOT_BEGUN = { done: 0, total: 0, before: 0 };
export const SMALLEST = 1; // radius of the brush, mm
export const LARGEST = 60;
const LONGEST_NAME = 64; // of a person in DICOM

/**
 * Events: "change", whenever the panel has to be drawn anew.
 */
export class Controller extends EventTarget {
  /**
   * @param {import('./viewer.js').Viewer} viewer
   * @param {import('./server.js').Server} server
   * @param {Map<string, import('./kept.js').Kept[]>} [kept] by the series' key
   * @param {import('./safe.js').Safe} [safe]
   */
  constructor(viewer, server, kept = new Map(), safe = NOWHERE) {
    super();
    this.viewer = viewer;
    this.server = server;
    server.name = preference(NAME) ?? '';
    const attempt = action => this.#try(action);
    this.watching = new Watching(server, () => {
      this.reviewing.watched();
      this.changed();
    });
    this.following = new Following(this, attempt, kept);
    this.guarding = new Guarding(this, safe);
    this.saving = new Saving(this, attempt);
    this.reviewing = new Reviewing(this, attempt);
    this.clicking = new Clicking(this, attempt);
    this.correcting = new Correcting(this);
    /** @type {import('./session.js').Session|null} */
    this.session = null;
    /** @type {Propagation|null} */
    this.propagation = null;
    /** @type {{done: number, total: number, before: number}} slices; requests that are before this one */
    this.progress = NOT_BEGUN;
    this.message = { text: '', failed: false };
    /** whether the server was told to begin or to end a training, and has not answered yet */
    this.ordering = false;
    /**
     * What to propagate and where to; `byItself`: corrections, as soon as the user pauses.
     * @type {{scope: 'all'|'active', direction: import('./request.js').Direction, limit: number|null, byItself: boolean}}
     */
    this.choice = { scope: 'all', direction: 'both', limit: null, byItself: preference(BY_ITSELF) === 'yes' };
    /** of the tools: radius of brush and eraser, mm; intensities that the threshold brush takes */
    this.brush = { radius: 15, range: [-50, 200] };
  }

  /** @returns {() => void} ends it */
  start() {
    const end = this.following.start(this.watching.look()); // the first segmentation takes the server's structures
    const endGuarding = this.guarding.start();
    return () => {
      this.correcting.forget();
      this.cancel();
      this.watching.stop();
      this.clicking.end();
      this.clicking.forget();
      end();
      endGuarding();
      this.session = null;
    };
  }

  /** @returns {any|null} the server's last /info/ */
  get info() {
    return this.watching.info;
  }

  get structures() {
    return this.session ? this.structuresOf(this.session) : [];
  }

  /** Those of a session that is shown or not; none, if its segmentation was deleted. */
  structuresOf({ labelmap: { id } }) {
    return this.viewer.hasSegmentation(id) ? this.viewer.structures(id) : [];
  }

  get activeStructure() {
    return this.structures.find(each => each.active) ?? this.structures[0] ?? null;
  }

  get confidences() {
    return this.session ? sliceConfidences(this.session.structuresReport) : [];
  }

  /**
   * How sure the server is of each structure on a slice along the present axis, those first that are to be looked at.
   * @param {number} slice
   * @returns {{name: string, confidence: number|null}[]} null: it is given there; left out: nothing is known of it
   */
  standingAt(slice) {
    const { given, axis, structuresReport } = this.session;
    const known = Object.values(structuresReport);
    return this.structures.map(({ value, name }) => {
      const confidence = known.find(each => each.value === value)?.confidence[slice];
      return { name, confidence: given.has(value, axis, slice) ? null : confidence };
    }).filter(({ confidence }) => confidence !== undefined).sort((a, b) => (a.confidence ?? 1) - (b.confidence ?? 1));
  }

  get canPropagate() {
    return Boolean(this.session && this.watching.connected && this.info.models?.[MODEL] && !this.#replaces);
  }

  get canUndo() {
    return this.undoes !== null && !this.propagation;
  }

  /** @returns {string|null} the kind of step that Undo takes back; null: there is none */
  get undoes() {
    return this.clicking.pending ? POINTS : this.session?.history.last?.what ?? null;
  }

  get canRedo() {
    return Boolean(this.session?.history.next && !this.propagation);
  }

  /** Whether there is anything to look through. */
  get canCheck() {
    return Boolean(this.session && Object.keys(this.session.report.structures).length > 0);
  }

  /** Whether something was found on the slice that is shown, and is not given there. */
  get canConfirm() {
    return this.toConfirm.length > 0;
  }

  /** @returns {string[]} names of the structures that `confirmSlice` is about: all found on this slice, and not given */
  get toConfirm() {
    const { session, currentSlice } = this;
    if (!session || currentSlice === null || this.propagation) return [];
    return this.#namesOf(session.openAt(currentSlice));
  }

  get canSave() {
    return Boolean(this.session && this.watching.connected && !this.propagation && !this.saving.busy);
  }

  get unsaved() {
    return this.following.unsaved;
  }

  get currentSlice() {
    if (!this.session) return null;
    return this.viewer.currentSlice(this.session.series, this.session.labelmap.grid, this.session.axis);
  }

  /** @param {string} toolName of OHIF, for the left mouse button */
  activateTool(toolName) {
    this.clicking.end();
    this.viewer.activateTool(toolName);
    this.changed();
  }

  /** @param {number} radius of brush and eraser, mm */
  setBrush(radius) {
    this.brush.radius = Math.min(LARGEST, Math.max(SMALLEST, radius));
    this.viewer.setBrushRadius(this.brush.radius);
    this.changed();
  }

  /** @param {1|-1} by larger or smaller, by an eighth or so */
  stepBrush(by) {
    if (this.session) this.setBrush(this.brush.radius + by * Math.max(1, Math.round(this.brush.radius / 8)));
  }

  togglePoints() {
    this.clicking.toggle();
    this.changed();
  }

  /** @param {string} name empty: one is made up */
  addStructure(name) {
    this.#try(() => {
      const value = nextValue(this.structures);
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
    this.changed();
  }

  /** @param {1|-1} by to the next structure, or the one before; behind the last one comes the first */
  stepStructure(by) {
    const values = this.structures.map(each => each.value);
    if (values.length === 0) return;
    const next = values.indexOf(this.activeStructure.value) + by;
    this.activateStructure(values.at(next % values.length));
  }

  colourStructure(value, color) {
    this.viewer.colourStructure(this.#id, value, color);
    this.changed();
  }

  /** @returns {string} who signed in, else what the user says; '' if nobody does */
  get annotator() {
    return this.info?.annotator ?? this.server.name;
  }

  /**
   * Labels and reviews are the user's under this name from now on, where nobody signs in.
   * @param {string} name
   */
  callMe(name) {
    this.server.name = name.slice(0, LONGEST_NAME);
    prefer(NAME, this.server.name);
    this.changed();
  }

  /** @param {Controller['choice']} choice made in the panel */
  choose(choice) {
    this.choice = choice;
    prefer(BY_ITSELF, choice.byItself ? 'yes' : 'no');
    if (!choice.byItself) this.correcting.forget();
  }

  /** Propagate what was chosen. */
  async propagate() {
    const ending = this.correcting.forget();
    if (ending) await ending;
    await this.#propagate(() => (this.choice.scope === 'active' ? [this.activeStructure] : this.structures));
  }

  /** Propagate, without the button, those of the structures with these values that are there and not locked. */
  async propagateOnly(values) {
    const structures = this.structures.filter(({ value, locked }) => values.has(value) && !locked);
    if (structures.length > 0) await this.#propagate(() => structures);
  }

  cancel() {
    return this.propagation?.cancel();
  }

  /** What was done last is taken back: a stroke that was not noticed yet, points that are not answered yet. */
  async undo() {
    const ending = this.correcting.forget();
    if (ending) await ending;
    if (this.session && !this.propagation) this.session.notice();
    this.correcting.forget(); // what was noticed only now
    if (!this.canUndo) return;
    const { pending } = this.clicking;
    this.clicking.forget();
    this.#try(() => this.say(takenBack(pending ? { what: POINTS, slice: null } : this.session.undo())));
  }

  redo() {
    if (!this.canRedo) return;
    this.clicking.forget();
    this.#try(() => {
      const step = this.session.redo();
      if (step !== null) this.say(doneAgain(step));
    });
  }

  showSlice(slice) {
    if (!this.session) return;
    if (!this.#shows(slice)) this.say(NO_VIEWPORT, true);
    this.changed();
  }

  /** Show the slice where a correction should help most, in the plane that was propagated. */
  nextToCheck() {
    if (this.canCheck) this.say(this.#goToNext());
  }

  /** What is drawn on the slice that is shown is right; then on to the next one. */
  confirmSlice() {
    if (!this.canConfirm) return;
    const { currentSlice: slice, toConfirm } = this;
    this.clicking.forget();
    this.session.confirm(slice);
    this.say(`${confirmed(slice, toConfirm)} ${this.#goToNext()}`);
  }

  train() {
    return this.#order('Training begins…', async () => {
      await this.server.train(this.watching.training.trainer);
      this.say('Training has begun.');
    });
  }

  stopTraining() {
    return this.#order('Training ends…', async () => {
      await this.server.stopTraining();
      this.say('');
    });
  }

  /**
   * Show a sentence to the user.
   * @param {string} text '' for none
   * @param {boolean} [failed] whether it says what went wrong
   */
  say(text, failed = false) {
    this.message = { text, failed };
    this.saving.forgetQuestion();
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event('change'));
  }

  /**
   * Go to the next slice to check.
   * @returns {string} what is to be looked at there
   */
  #goToNext() {
    const { session } = this;
    const { axis, structures } = session.report;
    const { given } = session;
    const isFirst = session.seen.size === 0;
    const next = nextToCheck(structures, session.seen, (value, slice) => given.has(value, axis, slice));
    if (next === null) return 'You have looked at every slice.';
    const { value, slice } = next;
    session.axis = axis;
    if (!this.#shows(slice)) return NO_VIEWPORT;
    const [name] = this.#namesOf([value]);
    const others = this.#namesOf(session.openAt(slice).filter(each => each !== value));
    const sentence = toCheck(name, structures[value].confidence[slice], session.isOn(value, axis, slice), others);
    return isFirst ? sentence + this.#showsAcross(structures[value].suggested_across) : sentence;
  }

  /**
   * Show the slice of another plane where a correction should help, too, in the viewport of that plane.
   * @param {import('./confidence.js').Across|null} [across]
   * @returns {string} what is to be said of it; '' where there is none, or no such viewport
   */
  #showsAcross(across) {
    const { series, labelmap: { grid } } = this.session;
    if (!across || !this.viewer.showSlice(series, grid, across.axis, across.slice)) return '';
    return ` ${orAcross(planeName(across.axis, grid), across.slice)}`;
  }

  /** @returns {string[]} the names that structures have now */
  #namesOf(values) {
    return this.structures.filter(each => values.includes(each.value)).map(each => each.name);
  }

  /** Go to a slice; one of the plane that was propagated counts as looked at. Whether any viewport shows it. */
  #shows(slice) {
    const { series, labelmap, axis, seen, report } = this.session;
    const isShown = this.viewer.showSlice(series, labelmap.grid, axis, slice);
    if (isShown && axis === report.axis) seen.add(slice);
    return isShown;
  }

  /** @param {() => import('./structures.js').Structure[]} chosen */
  async #propagate(chosen) {
    const { direction, limit } = this.choice;
    const { session } = this;
    if (!session || this.#replaces) return;
    const named = this.structures;
    const propagation = new Propagation(this.server, MODEL, progress => {
      this.progress = progress;
      this.changed();
    });
    this.propagation = propagation;
    this.progress = NOT_BEGUN;
    this.say('');
    await this.#try(async () => {
      checkStructures(named);
      const lockedOf = () => this.structuresOf(session).filter(each => each.locked);
      const structures = unlocked(chosen());
      const { reply, leftOut } = await propagation.run(session, { structures, named, direction, limit }, lockedOf);
      const locked = lockedOf().filter(({ value }) => session.touched.byValue.has(value));
      this.say([found(reply), ...leftOut.map(notAsked), ...locked.map(leftLocked)].join(' '));
    }, () => propagation.gaveWay);
    this.propagation = null;
    this.watching.look();
    this.changed();
  }

  /** Whether a result or a saved label is on its way, beside which no result may come in. */
  get #replaces() {
    return this.propagation !== null || this.saving.busy === 'load';
  }

  get #id() {
    return this.session.labelmap.id;
  }

  /** Begin or end a training, one order at a time. */
  async #order(sentence, action) {
    if (this.ordering) return;
    this.ordering = true;
    this.say(sentence);
    await this.#try(action);
    await this.watching.look();
    this.ordering = false;
    this.changed();
  }

  /** Do something; what goes wrong is shown as its sentence, if that is still of interest. */
  async #try(action, isOver = () => false) {
    try {
      await action();
    } catch (error) {
      console.error(error);
      if (!isOver()) this.say(error.message, true);
    }
    this.changed();
  }
}
