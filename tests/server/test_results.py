"""Results as files: the image's own geometry, in the type and format asked for."""

from pathlib import Path

import numpy as np
import pytest
from server_studies import AFFINE, TURNED

from slmsam2.server.requests.parameters import EXTENSIONS, ReplyFormat
from slmsam2.server.requests.results import write_result
from slmsam2.volume import Volume, read_label

pytestmark = pytest.mark.server

SHEARED = AFFINE.copy()
SHEARED[1, 2] = 1.5  # a CT with gantry tilt


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("affine", [AFFINE, TURNED, SHEARED], ids=["plain", "turned", "sheared"])
@pytest.mark.parametrize("dtype", [None, "uint8", "int16", "float32"])
def test_geometry_and_values(extension, affine, dtype):
    image = Volume(np.zeros((5, 4, 3), np.int16), affine)
    array = np.arange(60, dtype=np.int32).reshape(5, 4, 3)
    path = Path(write_result(array, image, ReplyFormat(extension, np.dtype(dtype) if dtype else None, True)))
    try:
        found = read_label(path)
        np.testing.assert_array_equal(found.array, array)
        np.testing.assert_allclose(found.affine, affine, atol=1e-5)
    finally:
        path.unlink()
