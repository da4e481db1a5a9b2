// Work that was left without submitting it, as by OHIF's back arrow: it comes back when its series is opened again.

/**
 * @typedef {import('./session.js').Work & {name: string, title: string, structures: any[], at?: number}} Kept `name`: of the
 *   segmentation; `title`: of the series, for the user; `at`: when the browser kept it, ms since 1970
 */

/** What tells a series from others, also when it is opened again; and a part of a series from its other parts. */
export function keyOf({ SeriesInstanceUID: uid, imageIds }) {
  return `${uid} ${imageIds.length}`;
}

/**
 * End the work on a segmentation, and keep what is not submitted.
 * @param {import('./session.js').Session} session
 * @param {import('./viewer.js').Viewer} viewer
 * @param {Map<string, Kept[]>} kept by the series' key
 */
export function leave(session, viewer, kept) {
  session.stop();
  const { id } = session.labelmap;
  if (!viewer.hasSegmentation(id)) return;
  session.notice();
  if (!session.unsaved && !session.submitting) return;
  add(session.series, kept, workOf(session, viewer));
}

/**
 * @param {import('./session.js').Session} session of a segmentation that is there
 * @param {import('./viewer.js').Viewer} viewer
 * @returns {Kept}
 */
export function workOf(session, viewer) {
  const { labelmap: { id }, series: { Modality, SeriesDescription } } = session;
  const title = SeriesDescription || Modality || 'a series';
  return { ...session.work, title, name: viewer.segmentationName(id), structures: viewer.structures(id) };
}

/**
 * Keep one more work on a series.
 * @param {any} series
 * @param {Map<string, Kept[]>} kept by the series' key
 * @param {Kept} work
 */
export function add(series, kept, work) {
  kept.set(keyOf(series), [...keptOf(series, kept), work]);
}

/**
 * @param {any} series
 * @param {Map<string, Kept[]>} kept by the series' key
 * @returns {Kept[]} what was kept of it
 */
export function keptOf(series, kept) {
  return kept.get(keyOf(series)) ?? [];
}

/**
 * Keep one of the works on a series no longer.
 * @param {any} series
 * @param {Map<string, Kept[]>} kept by the series' key
 * @param {Kept|undefined} work
 */
export function drop(series, kept, work) {
  const left = keptOf(series, kept).filter(each => each !== work);
  if (left.length) kept.set(keyOf(series), left);
  else kept.delete(keyOf(series));
}

/**
 * Go on with work that was kept.
 * @param {import('./session.js').Session} session of a segmentation that was made for it
 * @param {import('./viewer.js').Viewer} viewer
 * @param {Kept} work
 */
export function resume(session, viewer, work) {
  const { id } = session.labelmap;
  for (const { value, color, active } of work.structures) {
    viewer.colourStructure(id, value, color);
    if (active) viewer.activateStructure(id, value);
  }
  session.resume(work);
}
