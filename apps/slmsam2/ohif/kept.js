// Work that was left without submitting it, as by OHIF's back arrow: it comes back when its series is opened again.

/** @typedef {import('./session.js').Work & {structures: any[]}} Kept */

/** What tells a series from others, also when it is opened again; and a part of a series from its other parts. */
export function keyOf({ SeriesInstanceUID: uid, imageIds }) {
  return `${uid} ${imageIds.length}`;
}

/**
 * End the work on a segmentation, and keep what is not submitted.
 * @param {import('./session.js').Session} session
 * @param {import('./viewer.js').Viewer} viewer
 * @param {Map<string, Kept>} kept by the series' key
 */
export function leave(session, viewer, kept) {
  session.stop();
  const { id } = session.labelmap;
  if (!viewer.hasSegmentation(id)) return;
  session.notice();
  if (!session.unsaved && !session.submitting) return;
  kept.set(keyOf(session.series), { ...session.work, structures: viewer.structures(id) });
}

/**
 * Go on with what was kept of a series.
 * @param {import('./session.js').Session} session new
 * @param {import('./viewer.js').Viewer} viewer
 * @param {Map<string, Kept>} kept by the series' key
 * @returns {boolean} whether anything was
 */
export function resume(session, viewer, kept) {
  const key = keyOf(session.series);
  const work = kept.get(key);
  if (work?.labels.length !== session.known.length) return false;
  const { id } = session.labelmap;
  const there = new Set(viewer.structures(id).map(each => each.value));
  for (const { value, name, color, active } of work.structures) {
    if (there.has(value)) viewer.renameStructure(id, value, name);
    else viewer.addStructure(id, value, name);
    viewer.colourStructure(id, value, color);
    if (active) viewer.activateStructure(id, value);
  }
  session.resume(work);
  kept.delete(key);
  return true;
}
