"""What an annotator does in the viewer, step by step, each with what must hold after it."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
from dicom_series import Series
from monailabel.client import MONAILabelClient
from scipy.ndimage import binary_dilation
from seg_objects import labelmap, segments

playwright = pytest.importorskip("playwright.sync_api", reason="run bash scripts/test.sh --e2e")

from viewer_page import ViewerPage  # noqa: E402 - needs playwright

expect = playwright.expect
RADIUS = 3  # voxels of the brush
WIDE = 5  # for large structures: each move of the mouse takes its time
RADIUS_OF_ERASER = 4
AWAY = 6  # slices between the painted slice and the one that is corrected


@dataclass(frozen=True)
class Scene:
    """What is painted, and where.

    Attributes:
        other: the series that Next sample is to open.
        mask: bool (I, J, K), the structure on the series' grid.
        mpr: three planes at once; else OHIF's stack.
        radius: of the brush, in voxels.
    """

    structure: str
    series: Series
    other: Series
    mask: np.ndarray
    mpr: bool = False
    radius: int = RADIUS

    @property
    def spacing(self) -> float:
        """Of the pixels of a slice, in mm."""
        return float(np.linalg.norm(self.series.lps[:3, 0]))


@dataclass(frozen=True)
class Cost:
    """Of a propagation, from the press of the button until the mask is read off the page.

    Attributes:
        seconds: on the clock.
        cpu: seconds of processor time that the server took.
    """

    seconds: float
    cpu: float


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def largest_slice(mask, axis=2):
    return int(mask.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())


def slices_of(label, axis=2):
    return np.unique(np.nonzero(label)[axis]).tolist()


def by_python_client(server, uid, sent, folder):
    """The same request by MONAI Label's own client: the label map."""
    params, label = sent
    (folder / "label.bin").write_bytes(label.tobytes())
    params = {key: value for key, value in params.items() if key != "request_id"}
    client = MONAILabelClient(server, tmpdir=str(folder))
    file, _ = client.infer("slmsam2", uid, params, label_in=str(folder / "label.bin"))
    return np.asarray(nib.load(file).dataobj)


def paint_largest_slice(viewer, mask, radius_mm, radius=RADIUS):
    """Paint the largest slice of a structure: its number and the label map."""
    k = largest_slice(mask)
    viewer.show_slice(k, mask.shape[2])
    viewer.choose_tool("Brush", radius_mm)
    viewer.paint(mask[:, :, k], 2, k, radius)
    label = viewer.label()
    assert slices_of(label) == [k]
    return k, label


def propagate(viewer: ViewerPage, server_process: psutil.Process | None = None) -> tuple[np.ndarray, Cost]:
    """Press the button: the label map and what it cost."""
    begin, cpu = time.monotonic(), _cpu_seconds(server_process)
    viewer.press("propagate")
    viewer.wait_for_message("slices")
    label = viewer.label()
    return label, Cost(time.monotonic() - begin, _cpu_seconds(server_process) - cpu)


def _cpu_seconds(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return times.user + times.system


def paint_scene(viewer: ViewerPage, scene: Scene) -> tuple[int, np.ndarray]:
    """Name the structure and paint its largest slice: the slice's number and the label map."""
    if scene.mpr:
        viewer.choose_mpr()
    viewer.name_structure(1, scene.structure)
    radius_mm = round(1.1 * scene.radius * scene.spacing)
    k, painted = paint_largest_slice(viewer, scene.mask, radius_mm, scene.radius)
    # the brush paints where the mouse goes
    assert dice(painted[:, :, k] > 0, scene.mask[:, :, k]) > 0.75
    return k, painted


def correct(viewer: ViewerPage, scene: Scene, found: np.ndarray, c: int) -> np.ndarray:
    """Erase half of the structure on slice c: the label map."""
    viewer.show_slice(c, found.shape[2])
    viewer.choose_tool("Eraser", round(RADIUS_OF_ERASER * scene.spacing))
    half = found[:, :, c] > 0
    half[: int(np.flatnonzero(half.any(axis=1)).mean())] = False
    viewer.paint(binary_dilation(half, iterations=RADIUS_OF_ERASER + 1), 2, c, RADIUS_OF_ERASER)
    corrected = viewer.label()
    assert slices_of(corrected != found) == [c]
    assert (corrected[:, :, c] > 0).any()
    return corrected


def propagate_correction(
    viewer: ViewerPage, scene: Scene, found: np.ndarray, corrected: np.ndarray, painted: list[int]
) -> np.ndarray:
    """Propagate again: what was painted stays, and the neighbourhood follows. The label map.

    Args:
        painted: the slices that were painted or corrected, ascending.
    """
    again, _ = propagate(viewer)
    params, label = viewer.sent()[-1]
    assert params["prompt_slices"] == {scene.structure: {params["axis"]: painted}}
    label = label.reshape(found.shape, order="F")
    assert slices_of(label) == painted  # exactly what the user painted or changed
    assert np.array_equal(label[:, :, painted], corrected[:, :, painted])
    assert np.array_equal(again[:, :, painted], corrected[:, :, painted])
    (c,) = slices_of(corrected != found)
    for near in (c - 1, c + 1):
        is_near = dice(again[:, :, near] > 0, again[:, :, c] > 0)
        assert is_near > dice(found[:, :, near] > 0, again[:, :, c] > 0)
    return again


def undo_and_repeat(viewer: ViewerPage, before: np.ndarray, after: np.ndarray) -> None:
    """Take the last propagation back, and do it once more, by its key."""
    viewer.press("undo")
    viewer.wait_for_message("taken back")
    assert np.array_equal(viewer.label(), before)
    viewer.page.keyboard.press("p")
    viewer.wait_for_message("slices")
    assert np.array_equal(viewer.label(), after)


def submit(viewer: ViewerPage, pacs, series: Series, names: dict[str, int]) -> np.ndarray:
    """Submit: the newest SEG in the PACS is what the page shows. The label map.

    Args:
        names: name -> value of the structures in it.
    """
    count = len(pacs.segmentations(series.uid))
    shown = viewer.label()
    viewer.press("submit")
    viewer.wait_for_message(f"Submitted: {', '.join(names)}")
    stored = pacs.segmentations(series.uid)
    assert len(stored) == count + 1
    assert stored[-1].SeriesDescription == ", ".join(names)  # as OHIF lists it
    assert segments(stored[-1]) == {value: name for name, value in names.items()}
    assert np.array_equal(labelmap(stored[-1], shown.shape, series.lps), shown)
    return shown


def train(viewer: ViewerPage, picture: Path) -> None:
    """Train: it begins, its progress shows, and it finishes."""
    words = viewer.page.locator("[data-role=training]")
    button = viewer.page.locator("[data-action=train]")
    expect(button).to_have_text("Train")
    viewer.press("train")
    expect(button).to_have_text("Stop training", timeout=60_000)
    expect(words).to_contain_text(re.compile(r"epoch \d+ of \d+"), timeout=180_000)
    viewer.screenshot(picture)
    expect(button).to_have_text("Train", timeout=900_000)
    expect(words).to_contain_text("finished")


def go_to_next_sample(viewer: ViewerPage, other: Series) -> None:
    """Next sample opens the other series."""
    viewer.press("next-sample")
    viewer.page.wait_for_url(f"**SeriesInstanceUIDs={other.uid}*", timeout=60_000)
    viewer.page.wait_for_selector(".slmsam2-structures li", timeout=90_000)
    assert not viewer.label().any()
