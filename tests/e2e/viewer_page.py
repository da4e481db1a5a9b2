"""OHIF in the browser, driven by mouse and keys, and read back from the page."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path

import numpy as np
from dicom_series import Series
from playwright.sync_api import Page, expect
from scipy.ndimage import binary_erosion

# what the page shows, read without our modules: label images sorted along the normal of the slices
READ_LABEL = """
() => {
  const { cache, metaData } = window.cornerstone;
  const { segmentationService, viewportGridService } = window.services;
  const { segmentationId } = segmentationService.getActiveSegmentation(viewportGridService.getActiveViewportId());
  const data = segmentationService.getSegmentation(segmentationId).representationData.Labelmap;
  const ids = data.imageIds ?? cache.getVolume(data.volumeId).imageIds;
  const slices = ids.map(id => {
    const image = cache.getImage(id);
    const plane = metaData.get('imagePlaneModule', image.referencedImageId);
    const [a, b] = [plane.rowCosines, plane.columnCosines];
    const normal = [a[1]*b[2]-a[2]*b[1], a[2]*b[0]-a[0]*b[2], a[0]*b[1]-a[1]*b[0]];
    const place = normal.reduce((sum, n, i) => sum + n * plane.imagePositionPatient[i], 0);
    return { place, plane, pixels: image.voxelManager.getScalarData() };
  }).sort((p, q) => p.place - q.place);
  const { columns, rows } = slices[0].plane;
  const all = new Uint8Array(columns * rows * slices.length);
  slices.forEach((slice, k) => all.set(slice.pixels, k * columns * rows));
  let text = '';
  for (let n = 0; n < all.length; n += 8192) text += String.fromCharCode(...all.subarray(n, n + 8192));
  return { shape: [columns, rows, slices.length], data: btoa(text) };
}
"""

# after all that the page had to do at this moment, what it does between two frames, and the panel's look at a stroke
SETTLE = """
() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 350))))
"""

# whether the image on the screen is the one that was asked for
IMAGE_IS_DRAWN = """
() => {
  const { viewportGridService, cornerstoneViewportService } = window.services;
  const shown = cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
  if (shown.type !== 'stack') return true;
  return shown.getCornerstoneImage()?.imageId === shown.getCurrentImageId();
}
"""

HAS_SEGMENTATION = """
() => Boolean(window.services.segmentationService.getActiveSegmentation(
  window.services.viewportGridService.getActiveViewportId()))
"""

# where voxels are on the screen, in the viewport that shows slice k (or the active one)
TO_SCREEN = """
({ points, viewport }) => {
  const { viewportGridService, cornerstoneViewportService } = window.services;
  const id = viewport ?? viewportGridService.getActiveViewportId();
  const shown = cornerstoneViewportService.getCornerstoneViewport(id);
  const box = shown.element.getBoundingClientRect();
  return points.map(point => {
    const [x, y] = shown.worldToCanvas(point);
    return [box.left + x, box.top + y];
  });
}
"""


MPR_IS_SHOWN = """
() => {
  const { viewportGridService, segmentationService, cornerstoneViewportService } = window.services;
  const ids = [...viewportGridService.getState().viewports.keys()];
  return ids.length === 3 && ids.every(id => {
    const volumes = cornerstoneViewportService.getCornerstoneViewport(id)?.getAllVolumeIds?.() ?? [];
    const isLoaded = each => window.cornerstone.cache.getVolume(each)?.loadStatus?.loaded ?? true;
    const drawn = segmentationService.getSegmentationRepresentations(id);
    return volumes.length > 0 && volumes.every(isLoaded) && drawn.length > 0;
  });
}
"""

JUMP = """
({ viewport, world }) =>
  window.services.cornerstoneViewportService.getCornerstoneViewport(viewport).jumpToWorld(world)
"""

CENTRE = """
viewport => Array.from(
  window.services.cornerstoneViewportService.getCornerstoneViewport(viewport).getCamera().focalPoint)
"""

# else Next sample would not hand out what it handed to the browser of an earlier test
ONE_ANNOTATOR = """
if (location.protocol.startsWith('http')) localStorage.setItem('slmsam2-client', 'browser-7e575');
"""

# keeps what the page sends to /infer/ (browsers do not hand out the bodies of uploads)
KEEP_REQUESTS = """
window.sentInferences = [];
const plainFetch = window.fetch;
window.fetch = async (url, options) => {
  if (String(url).startsWith('/infer/') && options.body.get('label')) {
    const label = new Uint8Array(await options.body.get('label').arrayBuffer());
    let text = '';
    for (let n = 0; n < label.length; n += 8192) text += String.fromCharCode(...label.subarray(n, n + 8192));
    window.sentInferences.push({ params: JSON.parse(options.body.get('params')), label: btoa(text) });
  }
  return plainFetch(url, options);
};
"""


DOUBLE_CLICK = 500  # ms: OHIF paints where nothing moved only when it was no double click


class ViewerPage:
    """A study in OHIF with our panel."""

    def __init__(self, page: Page, url: str, lps: np.ndarray) -> None:
        """``lps``: 4 x 4, voxel (i, j, k) of the series -> mm."""
        self.page, self.url, self.lps = page, url, lps
        page.add_init_script(KEEP_REQUESTS)

    def open(self, study: str) -> None:
        self.page.goto(f"{self.url}/ohif/slmsam2?StudyInstanceUIDs={study}")
        self.page.wait_for_selector(".slmsam2-structures li", timeout=90_000)
        notice = self.page.get_by_text("Confirm and Hide")
        if notice.is_visible():
            notice.click()

    def press(self, action: str) -> None:
        self.page.click(f".slmsam2 [data-action={action}]")

    def message(self) -> str:
        return self.page.inner_text(".slmsam2-message")

    def wait_for_message(self, text: str, seconds: float = 120) -> None:
        expect(self.page.locator(".slmsam2-message")).to_contain_text(text, timeout=1000 * seconds)

    def name_structure(self, value: int, name: str) -> None:
        row = self.page.locator(f".slmsam2-structures li[data-value='{value}']")
        row.locator(".slmsam2-name").dblclick()
        row.locator("input[type=text]").fill(name)
        self.page.keyboard.press("Enter")
        self.settle()

    def choose_structure(self, value: int) -> None:
        row = self.page.locator(f".slmsam2-structures li[data-value='{value}']")
        row.locator(".slmsam2-name").click()
        expect(row).to_have_class("slmsam2-active")

    def structure_names(self) -> dict[str, int]:
        """name -> value, as the panel lists them."""
        rows = self.page.locator(".slmsam2-structures li").all()
        return {
            row.locator(".slmsam2-name").inner_text(): int(row.get_attribute("data-value")) for row in rows
        }

    def choose_tool(self, name: str, radius: int) -> None:
        self.page.click(f".slmsam2 button:text-is('{name}')")
        self.page.locator(".slmsam2 input[type=range]").fill(str(radius))

    def label(self) -> np.ndarray:
        """uint8 (I, J, K)."""
        self.page.wait_for_function(HAS_SEGMENTATION, timeout=60_000)  # a moment after a series was opened
        found = self.page.evaluate(READ_LABEL)
        data = np.frombuffer(base64.b64decode(found["data"]), np.uint8)
        return data.reshape(found["shape"], order="F")

    def show_slice(self, k: int, count: int) -> None:
        """Go to a slice by a click on the strip."""
        strip = self.page.locator(".slmsam2-strip")
        box = strip.bounding_box()
        strip.click(position={"x": (k + 0.5) / count * box["width"], "y": 20})
        shown = self.page.locator(".slmsam2 h3:has-text('Slices') span")
        expect(shown).to_have_text(re.compile(rf"^{k}\b"), timeout=30_000)
        self.page.wait_for_function(IMAGE_IS_DRAWN, timeout=30_000)
        self.settle()

    def settle(self) -> None:
        """Wait until the page has done what it was asked for."""
        self.page.evaluate(SETTLE)

    def show_series(self, series: Series) -> None:
        """Open another series of the study, by a double click on its picture."""
        pictures = self.page.locator("[data-cy=study-browser-thumbnail]")
        pictures.filter(has_text=re.compile(rf"{series.modality}\b")).first.dblclick()
        end = time.monotonic() + 60
        while self.label().shape != series.array.shape:
            assert time.monotonic() < end, "the series does not appear"
            self.page.wait_for_timeout(500)
        self.page.wait_for_function(IMAGE_IS_DRAWN, timeout=30_000)
        self.settle()

    def choose_mpr(self) -> None:
        """Three planes, by OHIF's layout menu."""
        self.page.click("[data-cy=Layout]")
        self.page.get_by_text("MPR", exact=True).first.click()
        self.page.wait_for_function(MPR_IS_SHOWN, timeout=60_000)
        self.settle()

    def centre_on(self, viewport: str, voxel: tuple[float, float, float]) -> None:
        """Make a viewport show the slice that a voxel lies on, the way OHIF's crosshairs do."""
        world = (self.lps @ [*voxel, 1])[:3].tolist()
        self.page.evaluate(JUMP, {"viewport": viewport, "world": world})
        self.settle()
        # OHIF takes the first press in a viewport as the choice of that viewport
        self.page.mouse.click(*self.page.evaluate(TO_SCREEN, {"points": [world], "viewport": viewport})[0])
        self.settle()

    def centre(self, viewport: str) -> np.ndarray:
        """The voxel (i, j, k) in the middle of a viewport, in fractions."""
        world = self.page.evaluate(CENTRE, viewport)
        return np.linalg.solve(self.lps, [*world, 1])[:3]

    def stroke(self, voxels: list[tuple[float, float, float]], viewport: str | None = None) -> None:
        """Press the left button on the first voxel, move over the others, let go."""
        world = [(self.lps @ [*voxel, 1])[:3].tolist() for voxel in voxels]
        places = self.page.evaluate(TO_SCREEN, {"points": world, "viewport": viewport})
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places:
            self.page.mouse.move(*place)
        self.page.mouse.up()
        if len(places) == 1:
            self.page.wait_for_timeout(DOUBLE_CLICK)
        self.settle()

    def click(self, voxel: tuple[float, float, float]) -> None:
        world = (self.lps @ [*voxel, 1])[:3].tolist()
        (place,) = self.page.evaluate(TO_SCREEN, {"points": [world], "viewport": None})
        self.page.mouse.click(*place)

    def wait_until_drawn(self, seconds: float = 60, other_than: np.ndarray | int = 0) -> None:
        """Until there is anything in the label map, or anything else than there was."""
        end = time.monotonic() + seconds
        while np.array_equal(shown := self.label(), np.broadcast_to(other_than, shown.shape)):
            assert time.monotonic() < end, self.message()
            self.page.wait_for_timeout(500)

    def paint(
        self, mask: np.ndarray, axis: int, index: int, radius: int, viewport: str | None = None
    ) -> None:
        """Fill a mask on one slice, to and fro.

        Args:
            mask: bool, the two other axes in their order.
            radius: of the brush, in voxels. It paints where the mouse is seen, and not in between.
        """
        inside = binary_erosion(mask, iterations=radius)
        rows = np.flatnonzero(inside.any(axis=0))
        voxels = []
        for n, row in enumerate([*rows[::radius], rows[-1]]):
            columns = np.flatnonzero(inside[:, row])
            kept = [*columns[::radius], columns[-1]][:: -1 if n % 2 else 1]
            voxels += [tuple(np.insert(np.array([column, row], float), axis, index)) for column in kept]
        self.stroke(voxels, viewport)

    def sent(self) -> list[tuple[dict, np.ndarray]]:
        """The inferences that the page asked for: params, and the label (I x J x K bytes, i fastest)."""
        found = self.page.evaluate("window.sentInferences")
        return [(each["params"], np.frombuffer(base64.b64decode(each["label"]), np.uint8)) for each in found]

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path)
        assert path.stat().st_size < 300_000  # they go into the repository
