// Drawing a slice by clicks: each click asks the server anew, one request at a time.
import { Asking } from './asking.js';
import { readLabels } from './nifti.js';
import { drawnOn, isSamePlace, listenForPoints, pointModel, pointRequest, withPoint } from './points.js';
import { unlocked } from './structures.js';

export class Clicking {
  /**
   * @param {import('./controller.js').Controller} controller
   * @param {(action: () => Promise<void>) => Promise<void>} attempt shows what goes wrong
   */
  constructor(controller, attempt) {
    this.controller = controller;
    this.attempt = attempt;
    /** @type {import('./points.js').Clicked|null} */
    this.clicked = null;
    /**
     * The points of one place; `before`: null until the first of them is asked for.
     * @type {{before: import('./points.js').Before|null, newest: import('./points.js').Clicked|null}}
     */
    this.placing = { before: null, newest: null };
    /** of all points that are under way; `waiting`: how many; `asking`: the one that the server draws */
    this.forgotten = { over: false, waiting: 0, asking: null };
    /** points that are still to be answered */
    this.waiting = 0;
    this.last = Promise.resolve();
    /** @type {(() => void)|null} null: clicks are the tools' */
    this.stop = null;
  }

  get model() {
    return pointModel(this.controller.info);
  }

  get active() {
    return this.stop !== null;
  }

  /** Whether the answer to any point is still to be drawn. */
  get pending() {
    return this.forgotten.waiting > 0;
  }

  toggle() {
    const { session, viewer } = this.controller;
    if (this.active) this.end();
    else if (session && this.model) {
      const add = point => this.attempt(async () => this.#add(session, point));
      const stops = [
        listenForPoints(viewer, session.series, session.labelmap.grid, add),
        viewer.onTool(() => {
          this.end();
          this.controller.changed();
        }),
      ];
      this.stop = () => stops.forEach(stop => stop());
    }
  }

  end() {
    this.stop?.();
    this.stop = null;
    this.clicked = null;
  }

  /** The points that were placed are no longer meant; what is still to be answered of them changes nothing. */
  forget() {
    this.forgotten.over = true;
    this.forgotten.asking?.giveUp();
    this.forgotten = { over: false, waiting: 0, asking: null };
    this.clicked = null;
  }

  /** @throws {Error} with a sentence for the user: there is no structure that may be drawn */
  #add(session, point) {
    const { activeStructure } = this.controller;
    const [{ value }] = unlocked(activeStructure ? [activeStructure] : []);
    const placed = { ...point, value };
    if (!isSamePlace(this.clicked, placed)) this.placing = { before: null, newest: null };
    this.clicked = this.placing.newest = withPoint(this.clicked, placed);
    const { clicked, placing, forgotten } = this;
    this.waiting += 1;
    forgotten.waiting += 1;
    this.last = this.last.then(() => this.attempt(async () => {
      try {
        await this.#ask(session, clicked, placing, forgotten);
      } finally {
        this.waiting -= 1;
        forgotten.waiting -= 1;
      }
    }));
  }

  /**
   * @returns {import('./structures.js').Structure|undefined} of the series that was clicked; it may be deleted meanwhile
   * @throws {Error} with a sentence for the user: it is locked
   */
  #structure(session, { value }) {
    const structure = this.controller.structuresOf(session).find(each => each.value === value);
    return structure && unlocked([structure])[0];
  }

  /** Points that were placed since on the same slice go along with the last of them: it alone is asked for. */
  async #ask(session, clicked, placing, forgotten) {
    if (forgotten.over || placing.newest !== clicked) return;
    session.notice();
    placing.before ??= session.sliceNow(clicked);
    const { dims } = session.labelmap;
    const structure = this.#structure(session, clicked);
    if (!structure) return; // deleted meanwhile
    const { params, labels } = pointRequest(clicked, structure.name, placing.before, dims);
    const asked = session.sliceNow(clicked);
    session.drawing.add(asked);
    forgotten.asking = new Asking(this.controller.server);
    try {
      const { file } = await forgotten.asking.infer(this.model, session.uid, params, labels);
      const { data } = await readLabels(file);
      if (forgotten.over || !this.#structure(session, clicked)) return;
      session.notice();
      session.draw(drawnOn(session.known, data, dims, clicked, asked), clicked, placing);
    } catch (error) {
      if (!forgotten.over) throw error;
    } finally {
      session.drawing.delete(asked);
      forgotten.asking = null;
    }
  }
}
