// Training on the server: start, stop, and what it says about itself in /info/.

/**
 * @typedef {object} TrainingState
 * @property {string|null} trainer its name; null: this server does not train
 * @property {boolean} running
 * @property {number} done 0..1
 * @property {string} text for the user
 * @property {number|null} started when the training that the figures are of began
 */

/**
 * @param {any} info the server's /info/
 * @param {boolean} running whether a training is under way
 * @param {number|null} [ended] when the last training that is over began: its figures say nothing of the next one
 * @returns {TrainingState}
 */
export function trainingState(info, running, ended = null) {
  const names = Object.keys(info.trainers ?? {});
  const trainer = names.includes('slmsam2') ? 'slmsam2' : names[0] ?? null;
  if (trainer === null) return { trainer, running: false, done: 0, text: 'This server does not train.', started: null };
  const known = info.train_stats?.[trainer] ?? {};
  const { start_ts: started = null } = known;
  const stats = running && started !== null && started === ended ? {} : known;
  return { trainer, running, done: share(stats), text: words(stats, running), started };
}

function share({ epoch = 0, total_epochs: total = 0 }) {
  return total > 0 ? Math.min(1, epoch / total) : 0;
}

function words(stats, running) {
  const { epoch, total_epochs: total, best_metric: best } = stats;
  const parts = [];
  if (running) parts.push(total ? `epoch ${epoch} of ${total}` : 'starting');
  else if (!total) parts.push('not trained here yet');
  else parts.push(stats.status === 'stopped' ? 'last training stopped' : 'last training finished');
  if (best > 0) parts.push(`score ${best.toFixed(3)}`);
  if (running && stats.eta) parts.push(`${stats.eta} left`);
  if (stats.message) parts.push(stats.message);
  return parts.join(' · ');
}
