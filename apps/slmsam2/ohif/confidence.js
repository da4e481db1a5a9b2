// How sure the server is of each slice, and where to look first.

/**
 * @typedef {Record<string, {value: number, painted: number[], first: number|null, last: number|null,
 *   confidence: Record<string, number>, gain: Record<string, number>, suggested_across?: Across|null}>} Structures of the
 *   reply's report, by name; gain: what correcting a slice should bring; suggested_across: where, in another plane
 * @typedef {{axis: import('./touched.js').Axis, slice: number}} Across
 * @typedef {{axis: import('./touched.js').Axis, structures: Structures}} Report along the axis slices are counted; by
 *   value, as names may change
 * @typedef {{slice: number, confidence: number}} SliceConfidence
 */

/** @type {Report} */
export const NO_REPORT = { axis: 2, structures: {} };

/**
 * @param {Report} report
 * @param {number[]} gone values of structures that were deleted
 * @returns {Report} of the others
 */
export function withoutThem({ axis, structures }, gone) {
  const left = Object.entries(structures).filter(([, { value }]) => !gone.includes(value));
  return { axis, structures: Object.fromEntries(left) };
}

/**
 * One entry per slice that was looked at: the least sure structure counts.
 * @param {Structures} structures
 * @returns {SliceConfidence[]} ascending by slice
 */
export function sliceConfidences(structures) {
  /** @type {Map<number, number>} */
  const bySlice = new Map();
  for (const { confidence } of Object.values(structures)) {
    for (const [key, sure] of Object.entries(confidence)) {
      const slice = Number(key);
      bySlice.set(slice, Math.min(bySlice.get(slice) ?? 1, sure));
    }
  }
  return [...bySlice].map(([slice, confidence]) => ({ slice, confidence })).sort((a, b) => a.slice - b.slice);
}

/**
 * The slice to look at next: the one whose correction should bring most, of those that were not looked at. What was
 * looked at and left is right, and so, the more the nearer they are, are its neighbours.
 * @param {Structures} structures
 * @param {Set<number>} seen slices that were looked at
 * @param {(value: number, slice: number) => boolean} isGiven whether a structure was painted, changed or confirmed there
 * @returns {{slice: number, value: number}|null} and the structure that is to be looked at; null: all have been
 */
export function nextToCheck(structures, seen, isGiven) {
  let best = null;
  let most = 0;
  for (const { value, painted, gain } of Object.values(structures)) {
    const right = [...seen].map(slice => ({ slice, reach: Math.max(1, distance(slice, painted)) }));
    for (const [key, brings] of Object.entries(gain)) {
      const slice = Number(key);
      if (seen.has(slice) || isGiven(value, slice)) continue;
      const left = right.reduce((part, each) => Math.min(part, Math.abs(slice - each.slice) / each.reach), 1);
      if (brings * left > most) [best, most] = [{ slice, value }, brings * left];
    }
  }
  return best;
}

/** From a slice to the nearest of some. */
function distance(slice, others) {
  return Math.min(...others.map(other => Math.abs(slice - other)));
}

/**
 * @param {number} confidence 0..1
 * @returns {string} a colour from red over yellow to green
 */
export function confidenceColour(confidence) {
  const bounded = Math.min(1, Math.max(0, confidence));
  return `hsl(${Math.round(120 * bounded)} 75% 45%)`;
}
