"""Drawing a slice by clicks."""

import numpy as np
import pytest
from annotator import largest_slice, propagate, slices_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_clicks_draw_the_slice(open_viewer, ct, organs):
    viewer = open_viewer(ct)
    spleen = organs["spleen"]
    k = largest_slice(spleen)
    viewer.show_slice(k, spleen.shape[2])
    viewer.press("points")
    i, j = (int(np.median(each)) for each in np.nonzero(spleen[:, :, k]))
    viewer.click((i, j, k))
    viewer.wait_until_drawn()
    drawn = viewer.label()
    assert slices_of(drawn) == [k]
    assert drawn[i, j, k] > 0
    found, _ = propagate(viewer)
    assert k in slices_of(found)
    assert np.array_equal(found[:, :, k], drawn[:, :, k])
