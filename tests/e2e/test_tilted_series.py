"""Series that were not acquired along the patient's axes, or coronally: painting, propagating and submitting."""

import numpy as np
import pytest
from annotator import by_python_client, dice, paint_largest_slice, propagate, slices_of
from dicom_series import make_series
from seg_objects import labelmap

from conftest import REPOSITORY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SERIES = {"coronal": ("LIP", 0.0), "oblique": ("LPS", 25.0), "oblique_sagittal": ("PIR", -15.0)}


@pytest.fixture(params=SERIES)
def series(request, server, pacs, tmp_path):
    """The bundled CT, in another orientation."""
    data = REPOSITORY / "data" / "ts_ct_abdomen_3mm"
    orientation, tilt = SERIES[request.param]
    files = {"image": data / "image.nii.gz", "label": data / "label.nii.gz"}
    made = make_series(folder=tmp_path / "series", modality="CT", orientation=orientation, tilt=tilt, **files)
    pacs.store(made.files)
    yield made
    pacs.remove(made.uid)


def test_paint_propagate_submit(open_viewer, server, pacs, series, tmp_path):
    viewer = open_viewer(series)
    liver = series.label == int(np.bincount(series.label.ravel())[1:].argmax()) + 1
    k, painted = paint_largest_slice(viewer, liver, 10)
    assert dice(painted[:, :, k] > 0, liver[:, :, k]) > 0.7
    found, _ = propagate(viewer)
    assert np.array_equal(found[:, :, k], painted[:, :, k])
    assert len(slices_of(found)) > 5
    for near in (k - 1, k + 1):  # as the anatomy lies, not mirrored or in another order
        assert dice(found[:, :, near] > 0, liver[:, :, near]) > 0.7
    assert np.array_equal(found, by_python_client(server, series.uid, viewer.sent()[0], tmp_path))
    viewer.press("submit")
    viewer.wait_for_message("Submitted")
    (seg,) = pacs.segmentations(series.uid)
    assert np.array_equal(labelmap(seg, found.shape, series.lps), found)
