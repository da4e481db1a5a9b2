// Work that is not submitted, as the browser keeps it: small, and packed without holding up what is painted meanwhile.
import { unzipped, zipped } from './gzip.js';
import { equal, Touched } from './touched.js';

const PART = 65536; // voxels that are looked at together
const AT_ONCE = 10; // ms; then everything else has its turn
const NOTHING = new Uint8Array(PART);

/**
 * @typedef {Omit<import('./kept.js').Kept, 'labels'> & {runs: ArrayBuffer, count: number}} Packed `runs` of voxels that are
 *   something: first voxel, length and value of each, as 32-bit numbers, zipped; `count`: of all voxels
 */

/**
 * @param {import('./kept.js').Kept} work
 * @returns {Promise<Packed|null>} null: nothing is painted
 */
export async function pack({ labels, ...facts }) {
  const found = [];
  let begin = performance.now();
  for (let start = 0; start < labels.length; start += PART) {
    if (performance.now() - begin > AT_ONCE) {
      await new Promise(resolve => setTimeout(resolve));
      begin = performance.now();
    }
    const part = labels.subarray(start, start + PART);
    if (!equal(part, NOTHING.subarray(0, part.length))) found.push(runsOf(part, start));
  }
  if (found.length === 0) return null;
  return { ...facts, runs: await zipped(new Blob(found)).arrayBuffer(), count: labels.length };
}

/**
 * @param {Packed} packed as it comes out of the store, where classes are lost
 * @returns {Promise<import('./kept.js').Kept>}
 * @throws {Error} it is damaged
 */
export async function unpack({ runs, count, ...facts }) {
  const numbers = new Uint32Array(await unzipped(runs).arrayBuffer());
  const labels = new Uint8Array(count);
  for (let n = 0; n < numbers.length; n += 3) labels.fill(numbers[n + 2], numbers[n], numbers[n] + numbers[n + 1]);
  const [loaded, touched] = [facts.loaded, facts.touched].map(each => Object.assign(new Touched(), each));
  return { ...facts, loaded, touched, labels };
}

/** @returns {Uint32Array} of a part of the label map that begins at a voxel */
function runsOf(part, start) {
  const runs = [];
  for (let n = 0, end; n < part.length; n = end) {
    for (end = n + 1; end < part.length && part[end] === part[n];) end += 1;
    if (part[n]) runs.push(start + n, end - n, part[n]);
  }
  return Uint32Array.from(runs);
}
