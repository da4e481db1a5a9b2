// A visit of a series, for the tests: the controller with a viewer that has no page.
import { Controller } from '../../apps/slmsam2/ohif/controller.js';
import { screenOf } from './made_up.mjs';

export const SERIES = { SeriesInstanceUID: '1.2', imageIds: [0, 1] };
const INFO = { models: { slmsam2: {} }, labels: ['spleen'] };
const DIMS = [2, 1, 2];

/** A series of 2 x 1 x 2 voxels is opened, in a viewer that begins without segmentations. */
export async function visit(kept, { series = SERIES, server = {}, safe = undefined } = {}) {
  const screen = screenOf(DIMS);
  /** @type {{id: string, name: string, images: Uint8Array[], structures: any[]}[]} */
  const segmentations = [];
  const at = id => segmentations.find(each => each.id === id);
  const find = (id, value) => at(id).structures.find(each => each.value === value);
  const structureOf = ({ value, name }, n) => ({ value, name, active: n === 0, color: [0, 0, 0, 255] });
  const viewer = {
    cornerstone: screen.cornerstone, tools: screen.tools,
    active: null,
    onChange: listener => { viewer.listener = listener; return () => {}; },
    hasSegmentation: id => Boolean(at(id)),
    activeSeries: () => series,
    viewportsOf: () => [{}],
    beginStroke: () => {},
    addSegmentation: async (_, structures, name = 'SLM-SAM 2') => {
      const id = `segmentation ${segmentations.length}`;
      segmentations.push({ id, name, images: screen.add(id), structures: structures.map(structureOf) });
      viewer.active = id;
      return id;
    },
    segmentationOf: async (_, first) => viewer.active ?? viewer.addSegmentation(series, first),
    segmentationName: id => at(id).name,
    structures: id => at(id).structures.map(each => ({ ...each })),
    addStructure: (id, value, name) => at(id).structures.push(structureOf({ value, name }, 1)),
    renameStructure: (id, value, name) => { find(id, value).name = name; },
    colourStructure: (id, value, color) => { find(id, value).color = color; },
    activateStructure: (id, value) => at(id).structures.forEach(each => { each.active = each.value === value; }),
  };
  const controller = new Controller(viewer, { info: async () => INFO, opened: async () => {}, review: async () => null, ...server }, kept, safe);
  const leave = controller.start();
  while (!controller.session) await new Promise(resolve => setTimeout(resolve, 10));
  const look = async () => {
    viewer.listener();
    await new Promise(resolve => setTimeout(resolve, 60));
    await controller.following.syncing;
  };
  const { images, structures } = at(viewer.active);
  return {
    controller, viewer, segmentations, images, structures, leave, look,
    shown: () => images.flatMap(pixels => [...pixels]),
  };
}
