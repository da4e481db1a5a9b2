// Whether this OHIF has what the panel builds on.

const SERVICES = {
  segmentationService: [
    'createLabelmapForDisplaySet', 'addSegmentationRepresentation', 'getSegmentationRepresentations', 'getSegmentation',
    'getSegmentations', 'getActiveSegmentation', 'getViewportIdsWithSegmentation', 'addSegment', 'setSegmentLabel',
    'setActiveSegment', 'getSegmentColor', 'setSegmentColor',
  ],
  viewportGridService: ['getState', 'subscribe'],
  displaySetService: ['getDisplaySetByUID'],
  cornerstoneViewportService: ['getCornerstoneViewport'],
  toolGroupService: ['getToolGroupIds', 'getToolGroupForViewport'],
};

/**
 * @param {Record<string, any>} services of OHIF
 * @param {{cornerstone?: any, cornerstoneTools?: any}} libraries the page's globals
 * @returns {string|null} a sentence when something is missing
 */
export function missingSupport(services, { cornerstone, cornerstoneTools }) {
  const missing = Object.entries(SERVICES).flatMap(([service, names]) =>
    names.filter(name => typeof services[service]?.[name] !== 'function').map(name => `${service}.${name}`));
  if (!cornerstone?.cache || !cornerstone?.eventTarget) missing.push('cornerstone');
  if (!cornerstoneTools?.segmentation?.state) missing.push('cornerstoneTools');
  if (missing.length === 0) return null;
  return `This version of OHIF is not supported by SLM-SAM 2: it has no ${missing.join(', ')}. `
    + 'Use the OHIF that comes with MONAI Label 0.8.5.';
}
