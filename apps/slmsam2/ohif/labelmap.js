// The label map that OHIF shows: reading and writing its voxels, in the order in which the server counts them.
import { add, cross, dot, scale, sliceOrder } from './geometry.js';
import { equal } from './touched.js';

const MODIFIED = 'CORNERSTONE_TOOLS_SEGMENTATION_DATA_MODIFIED';

/**
 * A label map of OHIF. Stack and volume viewports share its slices: a volume is made of the same images.
 */
export class Labelmap {
  /**
   * @param {string} id of the segmentation
   * @param {any} cornerstone
   * @param {any} tools cornerstone's tools
   */
  constructor(id, cornerstone, tools) {
    this.id = id;
    this.cornerstone = cornerstone;
    this.tools = tools;
    const images = this.#imageIds().map(imageId => ({ imageId, plane: this.#plane(imageId) }));
    const [{ plane }] = images;
    if (images.some(each => each.plane.columns !== plane.columns || each.plane.rows !== plane.rows)) {
      throw new Error('The images of this series differ in size: they are no volume. Open another series.');
    }
    const order = sliceOrder(images.map(each => each.plane.position), plane.alongColumns, plane.alongRows);
    /** the slices' label images, k = 0, 1, ... */
    this.images = order.map(n => images[n].imageId);
    /** @type {import('./geometry.js').Grid} */
    this.grid = gridOf(order.map(n => images[n].plane), this.images.map(imageId => this.#source(imageId)));
  }

  /** Whether OHIF still holds its voxels: a full cache drops images. */
  get isThere() {
    return this.images.every(imageId => this.cornerstone.cache.getImage(imageId));
  }

  get dims() {
    return this.grid.dims;
  }

  /** @returns {Uint8Array} a copy of all voxels, i fastest */
  read() {
    const [columns, rows, slices] = this.dims;
    const size = columns * rows;
    const labels = new Uint8Array(size * slices);
    this.images.forEach((imageId, k) => labels.set(this.#pixels(imageId), k * size));
    return labels;
  }

  /**
   * @param {Uint8Array} labels all voxels
   * @returns {boolean} whether the label map holds just these
   */
  holds(labels) {
    return this.images.every((imageId, k) => equal(this.#pixels(imageId), this.#slice(labels, k)));
  }

  /** @param {Uint8Array} labels all voxels; slices that are as they were are not touched */
  write(labels) {
    this.images.forEach((imageId, k) => {
      const pixels = this.#pixels(imageId);
      const wanted = this.#slice(labels, k);
      if (!equal(pixels, wanted)) pixels.set(wanted);
    });
    this.#shown();
  }

  /** @param {import('./merge.js').Change} change */
  apply({ voxels, after }) {
    const size = this.dims[0] * this.dims[1];
    voxels.forEach((voxel, n) => {
      this.#pixels(this.images[Math.floor(voxel / size)])[voxel % size] = after[n];
    });
    this.#shown();
  }

  /**
   * @param {() => void} listener called after each change, by whomever
   * @returns {() => void} ends it
   */
  onChange(listener) {
    const own = event => { if (event.detail.segmentationId === this.id) listener(); };
    this.cornerstone.eventTarget.addEventListener(MODIFIED, own);
    return () => this.cornerstone.eventTarget.removeEventListener(MODIFIED, own);
  }

  /** Let OHIF draw what it holds now. */
  #shown() {
    this.cornerstone.triggerEvent(this.cornerstone.eventTarget, MODIFIED, { segmentationId: this.id });
  }

  #slice(labels, k) {
    const size = this.dims[0] * this.dims[1];
    return labels.subarray(k * size, (k + 1) * size);
  }

  #imageIds() {
    const { Labelmap: data } = this.tools.segmentation.state.getSegmentation(this.id).representationData;
    return data.imageIds ?? this.cornerstone.cache.getVolume(data.volumeId).imageIds;
  }

  #source(imageId) {
    return this.cornerstone.cache.getImage(imageId).referencedImageId;
  }

  #pixels(imageId) {
    const image = this.cornerstone.cache.getImage(imageId);
    if (!image) throw new Error('OHIF no longer holds this label: it needed the memory. Open the series again.');
    return image.voxelManager.getScalarData();
  }

  #plane(imageId) {
    const plane = this.cornerstone.metaData.get('imagePlaneModule', this.#source(imageId));
    return {
      position: Array.from(plane.imagePositionPatient),
      alongColumns: Array.from(plane.rowCosines), // DICOM's "row" direction: along a row, from column to column
      alongRows: Array.from(plane.columnCosines),
      columns: plane.columns,
      rows: plane.rows,
      spacing: [plane.columnPixelSpacing, plane.rowPixelSpacing],
      thickness: plane.sliceThickness || 1,
    };
  }
}

/** @returns {import('./geometry.js').Grid} of slices in the order of k */
function gridOf(planes, sources) {
  const [first] = planes;
  const last = planes[planes.length - 1];
  const normal = cross(first.alongColumns, first.alongRows);
  const span = dot(add(last.position, scale(first.position, -1)), normal);
  const step = planes.length > 1 ? span / (planes.length - 1) : first.thickness;
  return {
    dims: [first.columns, first.rows, planes.length],
    origin: first.position,
    positions: planes.map(each => each.position),
    sources,
    steps: [scale(first.alongColumns, first.spacing[0]), scale(first.alongRows, first.spacing[1]), scale(normal, step)],
  };
}
