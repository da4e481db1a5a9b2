// How sure the server is of each slice, and where to look first.

/**
 * @typedef {Record<string, {value: number, painted: number[], first: number|null, last: number|null,
 *   confidence: Record<string, number>}>} Structures of the reply's report, by name
 * @typedef {{slice: number, confidence: number, painted: boolean}} SliceConfidence
 */

/**
 * One entry per slice that was looked at: the least sure structure counts.
 * @param {Structures} structures
 * @returns {SliceConfidence[]} ascending by slice
 */
export function sliceConfidences(structures) {
  /** @type {Map<number, SliceConfidence>} */
  const bySlice = new Map();
  for (const { confidence, painted } of Object.values(structures)) {
    for (const [key, sure] of Object.entries(confidence)) {
      const slice = Number(key);
      const known = bySlice.get(slice);
      const isPainted = painted.includes(slice);
      if (!known) bySlice.set(slice, { slice, confidence: sure, painted: isPainted });
      else Object.assign(known, {
        confidence: Math.min(known.confidence, sure),
        painted: known.painted || isPainted,
      });
    }
  }
  return [...bySlice.values()].sort((a, b) => a.slice - b.slice);
}

/**
 * The slice to look at next: the least sure one that was neither painted, nor corrected, nor looked at.
 * Neighbours of a slice that was looked at wait until last: they look alike.
 * @param {SliceConfidence[]} confidences
 * @param {Set<number>} seen slices that were looked at
 * @param {Set<number>} corrected slices that the user painted or changed
 * @returns {number|null} null: all have been looked at
 */
export function nextToCheck(confidences, seen, corrected) {
  const open = confidences.filter(({ slice, painted }) => !painted && !seen.has(slice) && !corrected.has(slice));
  const apart = open.filter(({ slice }) => !seen.has(slice - 1) && !seen.has(slice + 1));
  const candidates = apart.length ? apart : open;
  if (candidates.length === 0) return null;
  return candidates.reduce((least, each) => (each.confidence < least.confidence ? each : least)).slice;
}

/**
 * @param {number} confidence 0..1
 * @returns {string} a colour from red over yellow to green
 */
export function confidenceColour(confidence) {
  const bounded = Math.min(1, Math.max(0, confidence));
  return `hsl(${Math.round(120 * bounded)} 75% 45%)`;
}
