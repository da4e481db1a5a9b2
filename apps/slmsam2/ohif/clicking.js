// Drawing a slice by clicks: each click asks the server anew, one request at a time.
import { readLabels } from './nifti.js';
import { drawnOn, listenForPoints, pointModel, withPoint } from './points.js';

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

  toggle() {
    const { session, viewer } = this.controller;
    if (this.active) this.end();
    else if (session && this.model) {
      this.stop = listenForPoints(viewer, session.series, session.labelmap.grid, point => this.#add(session, point));
    }
  }

  end() {
    this.stop?.();
    this.stop = null;
    this.clicked = null;
  }

  #add(session, point) {
    this.clicked = withPoint(this.clicked, { ...point, value: this.controller.activeStructure.value });
    const { clicked } = this;
    this.last = this.last.then(() => this.attempt(() => this.#ask(session, clicked)));
  }

  async #ask(session, clicked) {
    const { name } = this.controller.structures.find(each => each.value === clicked.value);
    const params = {
      foreground: clicked.foreground,
      background: clicked.background,
      label: name,
      axis: String(clicked.axis),
      slice: clicked.slice,
      result_extension: '.nii',
      result_dtype: 'uint8',
      result_compress: false,
    };
    const { file } = await this.controller.server.infer(this.model, session.uid, params, null);
    const { data } = await readLabels(file);
    session.notice();
    session.draw(drawnOn(session.known, data, session.labelmap.dims, clicked), clicked);
  }
}
