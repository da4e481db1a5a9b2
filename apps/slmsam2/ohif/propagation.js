// One propagation: ask, follow, cancel, bring the result in.
import { Asking } from './asking.js';
import { promptLabels } from './merge.js';
import { readLabels } from './nifti.js';
import { nothingPainted, plan } from './request.js';
import { valuesIn } from './touched.js';

const POLL = 400; // ms between looks at the progress
const CANCELLED = 'This propagation was cancelled. Nothing has changed.'; // the server's words

export class Propagation {
  /**
   * @param {import('./server.js').Server} server
   * @param {string} model
   * @param {(progress: {done: number, total: number, before: number}) => void} report called while it runs
   */
  constructor(server, model, report) {
    this.server = server;
    this.model = model;
    this.report = report;
    this.asking = new Asking(server);
    this.running = true;
    /** whether it was ended for something that the user does, and not by them */
    this.gaveWay = false;
  }

  /**
   * @param {import('./session.js').Session} session
   * @param {import('./request.js').Choice} choice
   * @param {() => import('./structures.js').Structure[]} locked structures that may not be changed
   * @returns {Promise<{reply: any, leftOut: import('./request.js').Structure[]}>} the reply's parameters;
   *   what was left out, as it is painted in another plane
   * @throws {Error} with a sentence for the user; the label map is as it was
   */
  async run(session, choice, locked) {
    session.notice();
    session.deleted.clear();
    const { dims } = session.labelmap;
    const { wanted, labels, leftOut } = prompts(session, choice);
    this.#follow();
    try {
      const { params, file } = await this.asking.infer(this.model, session.uid, wanted.params, labels);
      const result = await readLabels(file);
      if (String(result.dims) !== String(dims)) {
        const [found, expected] = [result.dims, dims].map(each => each.join(' x '));
        throw new Error(`The result has ${found} voxels, the series has ${expected}: it was not taken.`);
      }
      if (this.asking.givenUp) throw new Error(CANCELLED); // just as it arrived
      const closed = new Set([...session.deleted, ...locked().map(each => each.value)]);
      const left = stillOpen(closed, wanted, params.report);
      session.accept(result.data, { ...wanted, ranges: left.ranges }, left.structures);
      return { reply: { ...params, report: { ...params.report, structures: left.structures } }, leftOut };
    } catch (error) {
      throw this.asking.givenUp ? new Error(CANCELLED) : error;
    } finally {
      this.running = false;
    }
  }

  /** End it, whether the server answers or not; no result comes in. */
  cancel() {
    return this.asking.giveUp();
  }

  /** End it, as the user does something else: there is nothing to be said of it. */
  giveWay() {
    this.gaveWay = true;
    return this.cancel();
  }

  async #follow() {
    const { id } = this.asking;
    while (this.running) {
      await new Promise(resolve => setTimeout(resolve, POLL));
      const progress = this.running && await this.server.progress(id).catch(() => null);
      if (progress && this.running) this.report(progress);
    }
    if (this.asking.givenUp) await this.asking.giveUp(); // once more: it may not have known of it before
  }
}

/**
 * Of what was asked for and answered, the part of structures that were neither deleted nor locked meanwhile: a new one may
 * have got the value of a deleted one.
 * @param {Set<number>} closed their values
 * @param {import('./merge.js').Wanted} wanted
 * @param {{structures: import('./confidence.js').Structures}} report
 * @throws {Error} with a sentence for the user: nothing is left
 */
function stillOpen(closed, { ranges }, { structures }) {
  const left = {
    ranges: new Map([...ranges].filter(([value]) => !closed.has(value))),
    structures: Object.fromEntries(Object.entries(structures).filter(([, { value }]) => !closed.has(value))),
  };
  if (left.ranges.size === 0) throw new Error('What was propagated was deleted meanwhile, or locked. Nothing has changed.');
  return left;
}

/**
 * What to ask for, and the label map to send. Left out are a structure of which nothing was painted or changed since it
 * was loaded, as it is finished; and one that was only erased, as that says nothing about where it is.
 * @param {import('./session.js').Session} session
 * @param {import('./request.js').Choice} chosen
 * @throws {Error} with a sentence for the user
 */
function prompts(session, chosen) {
  const { known, given, touched, plane, labelmap: { dims } } = session;
  const isOn = (...place) => session.isOn(...place);
  const choice = { ...chosen, along: plane };
  const worked = choice.structures.filter(({ value }) => touched.byValue.has(value));
  if (worked.length === 0) throw nothingPainted(choice.structures);
  const send = ({ planes }) => promptLabels(known, dims, planes);
  const all = plan({ ...choice, structures: worked }, given, dims, isOn);
  const shown = valuesIn(send(all));
  const structures = all.structures.filter(({ value }) => shown.has(value));
  if (structures.length === 0) throw new Error('The slices that you changed are empty. Paint the structure on one slice.');
  const wanted = plan({ ...choice, structures }, given, dims, isOn);
  return { wanted, labels: send(wanted), leftOut: all.leftOut };
}
