"""The result as a file, in the form the client asked for."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from slmsam2.errors import VolumeError
from slmsam2.server.parameters import ReplyFormat
from slmsam2.volume import Volume
from slmsam2.volume.itk import itk_image
from slmsam2.volume.nifti import nifti_image


def write_result(array: np.ndarray, image: Volume, reply: ReplyFormat) -> str:
    """Write a labelmap with the image's own geometry to a new temporary file; whoever sends it removes it.

    MONAI Label's ``Writer`` is no help: by nibabel it resamples (and fails on) volumes stored turned, by ITK
    it has no NIfTI with shear (a CT with gantry tilt).

    Args:
        array: (I, J, K) integers on the image's grid.

    Returns:
        Path of the file.

    Raises:
        VolumeError: it cannot be written.
    """
    array = array.astype(reply.dtype or np.min_scalar_type(array.max()), copy=False)
    with tempfile.NamedTemporaryFile(suffix=reply.extension, delete=False) as file:
        path = Path(file.name)
    try:
        if reply.extension.startswith(".nii"):
            nifti_image(array, image).to_filename(path)
        else:
            sitk.WriteImage(itk_image(array, image), str(path), useCompression=reply.compress)
    except (OSError, RuntimeError) as error:
        path.unlink(missing_ok=True)
        raise VolumeError(
            f"The result cannot be written on the server: {error}. Check its free space."
        ) from error
    return str(path)
