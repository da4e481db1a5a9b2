import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Viewer } from '../../apps/slmsam2/ohif/viewer.js';

const SERIES = { displaySetInstanceUID: 's', imageIds: ['i'] };

/** A viewer that shows the series, on which OHIF has segmentations, some of whose label images are in its cache. */
function viewerWith(segmentations, cached) {
  const segmentationService = {
    getActiveSegmentation: () => segmentations[0],
    getSegmentations: () => segmentations,
    getSegmentationRepresentations: () => [{}],
    createLabelmapForDisplaySet: async () => 'new',
  };
  const viewports = new Map([['v', { viewportId: 'v', displaySetInstanceUIDs: ['s'] }]]);
  const services = {
    segmentationService,
    viewportGridService: { getState: () => ({ viewports, activeViewportId: 'v' }) },
    cornerstoneViewportService: { getCornerstoneViewport: id => ({ id, type: 'stack' }) },
  };
  const cornerstone = { cache: { getImage: id => (cached.includes(id) ? {} : undefined), getVolume: () => undefined } };
  return new Viewer({ servicesManager: { services }, commandsManager: {} }, { cornerstone, cornerstoneTools: {} });
}

const of = (segmentationId, imageIds) =>
  ({ segmentationId, representationData: { Labelmap: { imageIds, referencedImageIds: ['i'] } } });

test('a segmentation whose images went when its study was left is passed over', async () => {
  const gone = of('gone', ['a']);
  assert.equal(await viewerWith([gone, of('there', ['b'])], ['b']).segmentationOf(SERIES, []), 'there');
  assert.equal(await viewerWith([gone], []).segmentationOf(SERIES, []), 'new');
  assert.equal(await viewerWith([gone], ['a']).segmentationOf(SERIES, []), 'gone');
});

test('a tool for the left mouse button is told, however it was chosen', () => {
  const viewer = viewerWith([], []);
  viewer.cornerstone.eventTarget = new EventTarget();
  let told = 0;
  const end = viewer.onTool(() => { told += 1; });
  const activate = mouseButton => viewer.cornerstone.eventTarget.dispatchEvent(Object.assign(
    new Event('CORNERSTONE_TOOLS_TOOL_ACTIVATED'), { detail: { toolBindingsOptions: { bindings: [{ mouseButton }] } } }));
  [1, 2, 1].forEach(activate);
  end();
  activate(1);
  assert.equal(told, 2);
});

test('what is locked is locked again when it comes back', async () => {
  const viewer = viewerWith([], []);
  let made;
  viewer.services.segmentationService.createLabelmapForDisplaySet = async (_, { segments }) => { made = segments; };
  await viewer.addSegmentation(SERIES, [{ value: 1, name: 'liver', locked: true }, { value: 2, name: 'spleen' }], 'Second');
  assert.deepEqual([made[1].locked, made[2].locked], [true, undefined]);
});

test('a structure has its colour also while no viewport shows it', () => {
  const viewer = viewerWith([], []);
  let shown = ['v'];
  Object.assign(viewer.services.segmentationService, {
    getSegmentation: () => ({ segments: { 1: { label: 'liver' } } }),
    getViewportIdsWithSegmentation: () => shown,
    getSegmentColor: () => [1, 2, 3, 255],
  });
  const [{ color }] = viewer.structures('a');
  shown = [];
  assert.deepEqual([color, viewer.structures('a')[0].color], [[1, 2, 3, 255], [1, 2, 3, 255]]);
});

test('a stroke may begin where the last one was', () => {
  const viewer = viewerWith([], []);
  const brush = { configuration: { strategySpecificConfiguration: { THRESHOLD: {}, centerIJK: [1, 2, 0] } } };
  const group = { getActivePrimaryMouseButtonTool: () => 'CircularBrush', getToolInstance: () => brush };
  viewer.services.toolGroupService = { getToolGroupForViewport: id => (id === 'v' ? group : undefined) };
  viewer.beginStroke({ id: 'v' });
  assert.deepEqual(brush.configuration.strategySpecificConfiguration, { THRESHOLD: {} });
  viewer.beginStroke({ id: 'another' });
  Object.assign(brush, { configuration: {} }); // of a tool that does not paint
  viewer.beginStroke({ id: 'v' });
});
