// What the panel says about what was done and what is not submitted.

/** @type {[Intl.RelativeTimeFormatUnit, number][]} and how many seconds each has */
const UNITS = [['year', 31557600], ['month', 2629800], ['day', 86400], ['hour', 3600], ['minute', 60]];

const MOST_NAMED = 3; // series

export const UNSAVED = 'There is painting that was not submitted.';
export const NO_VIEWPORT = 'No viewport shows the plane that you painted in. Choose a layout that does, such as MPR.';
export const TURNED = 'This plane is turned against the slices, and the stroke crosses several. It stays, but counts as no slice of '
  + 'yours, and Propagate may change it: paint where the plane is not turned.';
export const NOT_KEPT = 'This browser keeps no copy of what is not submitted (private window, or no space left): a crash or a closed tab '
  + 'would lose it. Submit often.';
export const DAMAGED = 'Some painting that this browser had kept of this series is damaged and could not be brought back.';
export const ELSEWHERE = 'Another tab or window has painting on this series that is not submitted. It stays there.';

/**
 * What was loaded, and whose work it is.
 * @param {{structures: {name: string}[], made?: string, creator?: string, isOwn: boolean}} saved `made`: a date, or a date and
 *   time, ISO 8601
 */
export function loaded({ structures, made, creator, isOwn }, now = Date.now()) {
  const names = structures.map(each => each.name).join(', ');
  const when = made ? ` ${moment(made)}, ${ago(new Date(made), now)}` : '';
  const who = creator ? ` by ${creator}` : isOwn ? ' by you, in this browser' : '';
  const origin = when || who ? ` Saved${when}${who}.` : '';
  return `Loaded: ${names}.${origin} These slices count as yours: Propagate fills only the others.`;
}

/**
 * What reviewers say of a saved label.
 * @param {import('./reviewing.js').Review} review
 */
export function reviewed({ status, reviewer, comment, creator, made }, now = Date.now()) {
  const by = reviewer ? ` by ${reviewer}` : '';
  if (status === 'approved') return `Approved${by}.${comment ? ` ${comment}` : ''}`;
  const saved = `saved${creator ? ` by ${creator}` : ''} ${ago(new Date(made), now)}`;
  if (status !== 'flagged') return `Label ${saved}, not reviewed yet.`;
  const why = comment ? `: ${comment.replace(/[^.!?]$/, '$&.')}` : '.';
  return `Flagged${by}${why} Load saved, correct it, submit it again.`;
}

/** @param {import('./reviewing.js').Status} status that was noted of the saved label */
export function noted(status) {
  if (status === '') return 'The review is taken back: the saved label is not reviewed yet.';
  return status === 'approved' ? 'The saved label is approved.' : 'The saved label is flagged: it comes back to who saved it.';
}

/** @param {number|string} time ms since 1970, or ISO 8601, of which a date alone is only that */
function moment(time) {
  const day = typeof time === 'string' && !time.includes('T');
  return new Date(time).toLocaleString([], day ? { dateStyle: 'medium', timeZone: 'UTC' } : { dateStyle: 'medium', timeStyle: 'short' });
}

/** How long something is ago, in the largest unit of which it is one or more. */
function ago(time, now) {
  const seconds = Math.max(0, (now - time) / 1000);
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ['second', 1];
  if (unit === 'second') return 'just now';
  return new Intl.RelativeTimeFormat('en').format(-Math.floor(seconds / size), unit);
}

/**
 * What was painted before is on the screen again.
 * @param {number|undefined} at when the browser kept it, ms since 1970; undefined: in this window
 */
export function isBack(at) {
  const day = at === undefined ? '' : ` (as of ${moment(at)})`;
  return `What you had painted on this series is back${day}. It is not submitted yet; Undo takes it away.`;
}

/**
 * What the browser keeps of other series, the newest first.
 * @param {{title: string, at: number}[]} works
 * @returns {string} '' if there are none
 */
export function keptOfOthers(works) {
  if (works.length === 0) return '';
  const newest = [...works].sort((a, b) => b.at - a.at).slice(0, MOST_NAMED).map(({ title, at }) => `${title} (${moment(at)})`);
  const more = works.length > MOST_NAMED ? ` and ${works.length - MOST_NAMED} more` : '';
  return `This browser keeps painting on other series that is not submitted: ${newest.join(', ')}${more}. It comes back when you open them.`;
}

/**
 * How sure the server is of each structure on a slice.
 * @param {{name: string, confidence: number|null}[]} standing null: the user's own
 * @returns {string} '' if nothing is known
 */
export function standing(standing) {
  return standing.map(({ name, confidence }) => `${name} ${sureness(confidence)}`).join(', ');
}

/**
 * The same, short: of the structure to look at.
 * @param {boolean} isOneOfSeveral whether it has to be named
 */
export function standingInShort([first], isOneOfSeveral) {
  if (!first) return '';
  return sureness(first.confidence) + (isOneOfSeveral && first.confidence !== null ? `: ${first.name}` : '');
}

/** @param {number|null} confidence 0..1; null: the user's own */
function sureness(confidence) {
  return confidence === null ? 'yours' : `${Math.round(100 * confidence)} % sure`;
}

/**
 * How far a propagation is.
 * @param {{done: number, total: number, before: number}} progress slices; requests that are before it
 */
export function howFar({ done, total, before }) {
  if (total) return `${done} of ${total} slices`;
  return before ? `waiting, ${before} before you` : 'waiting…';
}

/**
 * What a propagation found.
 * @param {any} reply the server's
 */
export function found(reply) {
  const parts = Object.entries(reply.report.structures).map(([name, { first, last }]) =>
    first === null ? `${name}: nothing` : `${name}: slices ${first} to ${last}`);
  return `${parts.join('; ')} (${reply.latencies.total.toFixed(1)} s).`;
}

/** @param {{what: string, slice: number|null}} step that was undone */
export function takenBack({ what, slice }) {
  return `The last ${what}${slice === null ? '' : ` (slice ${slice})`} was taken back.`;
}

/** @param {{what: string, slice: number|null}} step that was redone */
export function doneAgain({ what, slice }) {
  return `The ${what}${slice === null ? '' : ` (slice ${slice})`} is back.`;
}

/**
 * What is to be looked at on a slice.
 * @param {string} name of the structure
 * @param {number} confidence 0..1
 * @param {boolean} isThere whether it was found there
 * @param {string[]} others structures that are confirmed with it
 */
export function toCheck(name, confidence, isThere, others) {
  const sure = sureness(confidence);
  const press = `press Slice is right${others.length ? ` (for ${others.join(', ')}, too)` : ''}`;
  return isThere ? `${name}, ${sure}: correct it, or ${press}.` : `No ${name} found, ${sure}: paint it, or ${press}.`;
}

/**
 * @param {string} plane
 * @param {number} slice of it, which shows most of what is expected to be wrong
 */
export function orAcross(plane, slice) {
  return `Or correct it on the ${plane} slice ${slice}, which shows where it ends.`;
}

/**
 * @param {number} slice
 * @param {string[]} names of the structures that were confirmed there
 */
export function confirmed(slice, names) {
  return `Slice ${slice} is yours: ${names.join(', ')}.`;
}

/** @param {{name: string}} structure that was painted in another plane than the one that was propagated */
export function notAsked({ name }) {
  return `${name} was left out: it is painted in another plane. Propagate it by itself, as the active structure.`;
}

/** @param {{name: string}} structure that the user has worked on, and locked */
export function leftLocked({ name }) {
  return `${name} was left as it is: it is locked in OHIF's segmentation tab.`;
}

/**
 * @param {string[]} names of the segmentations of a series, beside the panel's, that are not submitted
 * @returns {string} '' if there are none
 */
export function othersUnsaved(names) {
  if (names.length === 0) return '';
  return `Not submitted of this series: ${names.map(name => `'${name}'`).join(', ')}. `
    + "To go on with it, choose it in OHIF's segmentation tab.";
}
