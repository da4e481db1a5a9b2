"""Small made-up studies, label files, and what the stock client says when it is refused."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.client.client import MONAILabelClientException

SHAPE, SPACING = (40, 36, 14), (3.0, 3.0, 5.0)
# name -> (value, centre and half axes in voxels, HU)
ORGANS = {
    "liver": (1, (14, 18, 7), (8, 9, 5), 120),
    "spleen": (2, (30, 20, 7), (5, 6, 5), 180),
}


def ellipsoid(shape, centre, half):
    """bool (I, J, K)."""
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return sum(((g - c) / h) ** 2 for g, c, h in zip(grid, centre, half, strict=True)) <= 1


def phantom(shape=SHAPE):
    """A body with two organs. Returns HU int16 (I, J, K) and labels uint8 (I, J, K)."""
    scale = np.array(shape) / np.array(SHAPE)
    image = np.full(shape, -1000.0)
    image[ellipsoid(shape, (np.array(shape) - 1) / 2, np.array(shape) * [0.48, 0.46, 3])] = 20
    label = np.zeros(shape, np.uint8)
    for value, centre, half, hu in ORGANS.values():
        mask = ellipsoid(shape, np.array(centre) * scale, np.array(half) * scale)
        image[mask], label[mask] = hu, value
    noise = np.random.default_rng(0).normal(0, 15, shape)
    return (image + noise).astype(np.int16), label


def painted_slice(label, k):
    """The label on slice k only."""
    painted = np.zeros_like(label)
    painted[:, :, k] = label[:, :, k]
    return painted


# stored left, posterior, superior; the third axis is that of the thick slices
AFFINE = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
AFFINE[:3, 3] = [60, 54, -35]
TURNED = np.array(
    [[0, 0, 5.0, -30], [3.0, 0, 0, -50], [0, -3.0, 0, 60], [0, 0, 0, 1]]
)  # (i, j, k) = (A, I, R)


def write_nifti(path, array, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def write_nrrd(path, array, affine=AFFINE):
    """Array (I, J, K), affine RAS+."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


def make_studies(folder):
    image, _ = phantom()
    folder.mkdir()
    write_nifti(folder / "phantom.nii.gz", image)
    write_nifti(folder / "saved.nii.gz", image)
    write_nrrd(folder / "turned.nrrd", image, TURNED)
    write_nifti(folder / "long.nii.gz", phantom((64, 60, 60))[0])
    write_nifti(folder / "constant.nii.gz", np.full(SHAPE, 7, np.int16))
    write_nifti(folder / "nan.nii.gz", np.full(SHAPE, np.nan, np.float32))
    write_nifti(folder / "series.nii.gz", np.zeros((*SHAPE, 3), np.int16))
    (folder / "text.nii.gz").write_text("this is not an image")
    return folder


def refused(client, *args, **kwargs):
    """The status and the sentence of an inference that must be refused."""
    with pytest.raises(MONAILabelClientException) as caught:
        client.infer("slmsam2", *args, **kwargs)
    status, body = re.fullmatch(r"Status: (\d+); Response: (.*)", caught.value.msg, re.DOTALL).groups()
    return int(status), json.loads(body)["detail"]
