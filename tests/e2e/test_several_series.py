"""A study with two series: each has its own label map and its own painted slices."""

import numpy as np
import pytest
from annotator import paint_largest_slice, propagate, slices_of
from dicom_series import make_series

from conftest import REPOSITORY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def pair(pacs, tmp_path_factory):
    """The bundled CT twice in one study: axial as CT, sagittal as MR."""
    data = REPOSITORY / "data" / "ts_ct_abdomen_3mm"
    folder = tmp_path_factory.mktemp("pair")
    files = {"image": data / "image.nii.gz", "label": data / "label.nii.gz"}
    first = make_series(folder=folder / "a", modality="CT", orientation="LPS", **files)
    second = make_series(folder=folder / "b", modality="MR", orientation="PIR", study=first.study, **files)
    for series in (first, second):
        pacs.store(series.files)
    yield {series.array.shape: series for series in (first, second)}
    for series in (first, second):
        pacs.remove(series.uid)


def test_each_series_keeps_its_own(open_viewer, pair):
    viewer = open_viewer(next(iter(pair.values())))
    first = pair[viewer.label().shape]
    (second,) = (series for series in pair.values() if series is not first)
    liver = int(np.bincount(first.label.ravel())[1:].argmax()) + 1  # the largest structure of both
    viewer.lps = first.lps
    k, painted = paint_largest_slice(viewer, first.label == liver, 10)

    viewer.show_series(second)
    assert not viewer.label().any()
    viewer.lps = second.lps
    other_k, other_painted = paint_largest_slice(viewer, second.label == liver, 10)
    other_found, _ = propagate(viewer)
    assert np.array_equal(other_found[:, :, other_k], other_painted[:, :, other_k])

    viewer.show_series(first)
    assert np.array_equal(viewer.label(), painted)
    found, _ = propagate(viewer)
    sent = viewer.sent()[1][1].reshape(painted.shape, order="F")
    assert slices_of(sent) == [k]
    assert len(slices_of(found)) > 5
    viewer.show_series(second)
    assert np.array_equal(viewer.label(), other_found)
