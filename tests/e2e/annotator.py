"""What the tests of the viewer have in common: painting a real structure, and the same request by Python."""

import time

import nibabel as nib
import numpy as np
from monailabel.client import MONAILabelClient

RADIUS = 3  # voxels of the brush


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


def paint_largest_slice(viewer, mask, radius_mm):
    """Paint the largest slice of a structure: its number and the label map."""
    k = largest_slice(mask)
    viewer.show_slice(k, mask.shape[2])
    viewer.choose_tool("Brush", radius_mm)
    viewer.paint(mask[:, :, k], 2, k, RADIUS)
    label = viewer.label()
    assert slices_of(label) == [k]
    return k, label


def propagate(viewer):
    """Press the button: the label map and the seconds until it is there."""
    begin = time.monotonic()
    viewer.press("propagate")
    viewer.wait_for_message("slices")
    return viewer.label(), time.monotonic() - begin
