"""The server on another machine: a page without https, and a network that labels must go through."""

import gzip

import numpy as np
import pytest
from annotator import by_python_client, dice, paint_largest_slice, propagate, submit

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SHARE = 0.02  # of a label's voxels, that go over the network as bytes


def test_labels_go_packed(open_viewer, far, server, pacs, ct, organs, tmp_path):
    viewer = open_viewer(ct, at=far)
    assert not viewer.page.evaluate("isSecureContext")
    k, painted = paint_largest_slice(viewer, organs["spleen"], 10)
    found, _ = propagate(viewer)
    assert np.array_equal(found[:, :, k], painted[:, :, k])
    ((params, sent),) = viewer.sent()
    assert len(sent) < SHARE * painted.size
    plain = np.frombuffer(gzip.decompress(sent.tobytes()), np.uint8)
    assert np.array_equal(plain.reshape(painted.shape, order="F"), painted)
    assert np.array_equal(found, by_python_client(server, ct.uid, (params, plain), tmp_path))

    assert np.array_equal(submit(viewer, pacs, ct, {"Structure 1": 1}), found)
    viewer.page.reload()
    viewer.page.wait_for_selector(".slmsam2-structures li", timeout=90_000)
    viewer.press("load")
    viewer.wait_for_message("Structure 1")
    assert dice(viewer.label(), found) == 1
