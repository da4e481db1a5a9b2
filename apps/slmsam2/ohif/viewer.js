// What the panel needs of OHIF: the series that is shown, its viewports, its segmentation, its tools.
import { axisOf, show, sliceOf } from './shown.js';

const LABELMAP = 'Labelmap';
const ACTIVATED = 'CORNERSTONE_TOOLS_TOOL_ACTIVATED';
const LEFT = 1; // cornerstone's number of the mouse button
const NAME = 'SLM-SAM 2'; // of a segmentation that is made here
const WHITE = [255, 255, 255, 255];
const NO_IMAGES = ['SEG', 'SR', 'RTSTRUCT', 'PR', 'KO'];

export class Viewer {
  /**
   * @param {{servicesManager: any, commandsManager: any}} managers
   * @param {{cornerstone: any, cornerstoneTools: any}} libraries
   */
  constructor({ servicesManager, commandsManager }, { cornerstone, cornerstoneTools }) {
    this.services = servicesManager.services;
    this.commands = commandsManager;
    this.cornerstone = cornerstone;
    this.tools = cornerstoneTools;
    /** @type {Map<string, number[]>} a structure's colour as it was shown last: OHIF keeps it with the viewports */
    this.colours = new Map();
  }

  /**
   * @param {() => void} listener called when another viewport, series, layout or segmentation is shown
   * @returns {() => void} ends it
   */
  onChange(listener) {
    const { viewportGridService, cornerstoneViewportService, segmentationService } = this.services;
    const subscriptions = [
      [viewportGridService, 'ACTIVE_VIEWPORT_ID_CHANGED'],
      [viewportGridService, 'GRID_STATE_CHANGED'],
      [cornerstoneViewportService, 'VIEWPORT_DATA_CHANGED'],
      [segmentationService, 'SEGMENTATION_MODIFIED'],
      [segmentationService, 'SEGMENTATION_REPRESENTATION_MODIFIED'],
    ].filter(([service, event]) => service.EVENTS[event])
      .map(([service, event]) => service.subscribe(service.EVENTS[event], listener));
    return () => subscriptions.forEach(subscription => subscription.unsubscribe());
  }

  /** @returns {any|null} the display set of images in the active viewport */
  activeSeries() {
    const { viewportGridService, displaySetService } = this.services;
    const { viewports, activeViewportId } = viewportGridService.getState();
    const shown = viewports.get(activeViewportId)?.displaySetInstanceUIDs ?? [];
    return shown.map(uid => displaySetService.getDisplaySetByUID(uid))
      .find(set => set && !NO_IMAGES.includes(set.Modality) && set.imageIds?.length) ?? null;
  }

  /** @returns {any[]} cornerstone's viewports that show the series, the active one first; no 3D renderings */
  viewportsOf(series) {
    const { viewportGridService, cornerstoneViewportService } = this.services;
    const { viewports, activeViewportId } = viewportGridService.getState();
    return [...viewports.values()]
      .filter(each => each.displaySetInstanceUIDs?.includes(series.displaySetInstanceUID))
      .sort((a, b) => (b.viewportId === activeViewportId) - (a.viewportId === activeViewportId))
      .map(each => cornerstoneViewportService.getCornerstoneViewport(each.viewportId))
      .filter(each => each && each.type !== 'volume3d');
  }

  /**
   * The segmentation that the user paints into; made where the series has none.
   * @param {any} series
   * @param {import('./structures.js').Structure[]} structures of a new one
   * @returns {Promise<string|null>} its id; null: the series is not on the screen yet
   */
  async segmentationOf(series, structures) {
    const { segmentationService } = this.services;
    const viewports = this.viewportsOf(series);
    if (viewports.length === 0) return null;
    const active = segmentationService.getActiveSegmentation(viewports[0].id);
    const existing = this.#belongsTo(active, series) ? active
      : segmentationService.getSegmentations().find(each => this.#belongsTo(each, series));
    const id = existing?.segmentationId ?? await this.#create(series, structures, NAME);
    await this.#show(id, viewports);
    return id;
  }

  /**
   * Another segmentation of a series that is on the screen; the user paints into it from now on.
   * @returns {Promise<string>} its id
   */
  async addSegmentation(series, structures, name) {
    const id = await this.#create(series, structures, name);
    await this.#show(id, this.viewportsOf(series));
    return id;
  }

  async #show(id, viewports) {
    const { segmentationService } = this.services;
    for (const viewport of viewports) {
      const shown = segmentationService.getSegmentationRepresentations(viewport.id, { segmentationId: id });
      if (shown.length === 0) {
        await segmentationService.addSegmentationRepresentation(viewport.id, { segmentationId: id, type: LABELMAP });
      }
    }
  }

  async #create(series, structures, name) {
    const segments = structures.map(({ value, name, locked }, n) =>
      [value, { segmentIndex: value, label: name, locked, active: n === 0 }]);
    return this.services.segmentationService.createLabelmapForDisplaySet(series, {
      label: name,
      segments: Object.fromEntries(segments),
    });
  }

  #belongsTo(segmentation, series) {
    const data = segmentation?.representationData?.[LABELMAP];
    if (!data || !this.#hasImages(data)) return false;
    if (data.referencedImageIds) return series.imageIds.includes(data.referencedImageIds[0]);
    return Boolean(data.referencedVolumeId?.includes(series.displaySetInstanceUID));
  }

  /** Whether its voxels are there: back at the studies, OHIF drops images and keeps their segmentations. */
  #hasImages({ imageIds, volumeId }) {
    const { cache } = this.cornerstone;
    const images = imageIds ?? cache.getVolume(volumeId)?.imageIds ?? [];
    return images.length > 0 && images.every(imageId => cache.getImage(imageId));
  }

  /** @param {string} segmentationId */
  segmentationName(segmentationId) {
    return this.services.segmentationService.getSegmentation(segmentationId).label;
  }

  /** @param {string} segmentationId */
  hasSegmentation(segmentationId) {
    return Boolean(this.services.segmentationService.getSegmentation(segmentationId));
  }

  /**
   * @returns {{value: number, name: string, active: boolean, locked: boolean, color: number[]}[]} ascending by value;
   *   locked: the user wants it left as it is
   */
  structures(segmentationId) {
    const { segmentationService } = this.services;
    const [viewportId] = segmentationService.getViewportIdsWithSegmentation(segmentationId);
    const { segments } = segmentationService.getSegmentation(segmentationId);
    return Object.keys(segments).map(Number).filter(value => segments[value]).map(value => ({
      value,
      name: segments[value].label,
      active: Boolean(segments[value].active),
      locked: Boolean(segments[value].locked),
      color: this.#colour(segmentationId, value, viewportId),
    }));
  }

  /** @returns {number[]} red, green, blue, opacity; where no viewport shows the segmentation, as one showed it last */
  #colour(segmentationId, value, viewportId) {
    const name = `${segmentationId} ${value}`;
    if (viewportId) {
      this.colours.set(name, [...this.services.segmentationService.getSegmentColor(viewportId, segmentationId, value)]);
    }
    return this.colours.get(name) ?? WHITE;
  }

  addStructure(segmentationId, value, name) {
    this.services.segmentationService.addSegment(segmentationId, { segmentIndex: value, label: name });
  }

  renameStructure(segmentationId, value, name) {
    this.services.segmentationService.setSegmentLabel(segmentationId, value, name);
  }

  activateStructure(segmentationId, value) {
    this.services.segmentationService.setActiveSegment(segmentationId, value);
  }

  colourStructure(segmentationId, value, color) {
    const { segmentationService } = this.services;
    for (const viewportId of segmentationService.getViewportIdsWithSegmentation(segmentationId)) {
      segmentationService.setSegmentColor(viewportId, segmentationId, value, color);
    }
  }

  /**
   * @param {any} series
   * @param {import('./geometry.js').Grid} grid
   * @param {import('./touched.js').Axis} axis
   * @returns {number|null} the slice along the axis that is on the screen
   */
  currentSlice(series, grid, axis) {
    const viewport = this.#viewportAlong(series, grid, axis);
    return viewport ? sliceOf(viewport, grid, axis) : null;
  }

  /**
   * Show a slice, in the viewport whose plane it lies in.
   * @returns {boolean} whether there is such a viewport
   */
  showSlice(series, grid, axis, slice) {
    const viewport = this.#viewportAlong(series, grid, axis);
    return Boolean(viewport) && show(viewport, grid, axis, slice);
  }

  #viewportAlong(series, grid, axis) {
    return this.viewportsOf(series).find(viewport => axisOf(viewport, grid) === axis);
  }

  /** @param {string} toolName for the left mouse button, in all viewports */
  activateTool(toolName) {
    this.commands.run('setToolActiveToolbar', { toolName });
  }

  /**
   * @param {() => void} listener called when a tool is chosen for the left mouse button, here or in OHIF's toolbar
   * @returns {() => void} ends it
   */
  onTool(listener) {
    const { eventTarget } = this.cornerstone;
    const chosen = ({ detail: { toolBindingsOptions: { bindings = [] } } }) => {
      if (bindings.some(each => each.mouseButton === LEFT)) listener();
    };
    eventTarget.addEventListener(ACTIVATED, chosen);
    return () => eventTarget.removeEventListener(ACTIVATED, chosen);
  }

  /** @returns {string|undefined} the tool of the left mouse button */
  activeTool() {
    const { viewportGridService, toolGroupService } = this.services;
    return toolGroupService.getToolGroupForViewport(viewportGridService.getState().activeViewportId)
      ?.getActivePrimaryMouseButtonTool();
  }

  /**
   * Before a stroke: OHIF's tool paints nothing on the pixel that it painted around last, even if that was taken back, was
   * done with another radius or structure, or is on another slice.
   * @param {{id: string}} viewport of cornerstone
   */
  beginStroke({ id }) {
    const group = this.services.toolGroupService.getToolGroupForViewport(id);
    const tool = group?.getToolInstance(group.getActivePrimaryMouseButtonTool());
    delete tool?.configuration.strategySpecificConfiguration?.centerIJK; // that pixel
  }

  /** @param {number} radius mm */
  setBrushRadius(radius) {
    for (const id of this.services.toolGroupService.getToolGroupIds()) {
      this.tools.utilities.segmentation.setBrushSizeForToolGroup(id, radius);
    }
  }

  /** @param {[number, number]} range intensities that the threshold brush takes */
  setThreshold(range) {
    for (const id of this.services.toolGroupService.getToolGroupIds()) {
      this.tools.utilities.segmentation.setBrushThresholdForToolGroup(id, range);
    }
  }
}
