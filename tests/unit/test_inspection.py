"""How large an image is, told before it is opened."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image

from dicom_files import real_dicom, write_series
from slmsam2.errors import TooLargeError
from slmsam2.server.datastore.inspection import inspect, seems_whole
from slmsam2.volume import Volume, write_label

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_volumes(tmp_path, ending):
    array = np.zeros((12, 10, 8), np.uint8)
    write_label(tmp_path / f"x{ending}", array, Volume(array, np.eye(4)))
    assert inspect(tmp_path / f"x{ending}", 960) == 960
    with pytest.raises(TooLargeError, match="most_megavoxels"):
        inspect(tmp_path / f"x{ending}", 959)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ", ".nrrd"])
def test_what_seems_whole(tmp_path, ending):
    """Of NIfTI a missing byte is seen, of others a missing header."""
    array = np.random.default_rng(0).integers(0, 200, (12, 10, 8), np.uint8)
    path = tmp_path / f"x{ending}"
    write_label(tmp_path / f"x{ending.lower()}", array, Volume(array, np.eye(4)))
    (tmp_path / f"x{ending.lower()}").rename(path)
    assert seems_whole(path)
    content = path.read_bytes()
    path.write_bytes(content[:30] if ending == ".nrrd" else content[:-1])
    assert not seems_whole(path)
    path.write_bytes(b"")
    assert not seems_whole(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize(("sizes", "one"), [((6, 5, 4, 3), False), ((6, 5, 4, 1), True), ((6, 5), True)])
def test_several_volumes_in_one_file_are_no_image(tmp_path, ending, sizes, one):
    path = tmp_path / f"x{ending}"
    sitk.WriteImage(sitk.Image(sizes, sitk.sitkInt16), str(path))
    assert seems_whole(path) == one


def test_dicom_files():
    assert inspect(real_dicom("MR_small"), 10**6) == 64 * 64
    assert inspect(real_dicom("SC_rgb_rle_2frame"), 10**6) == 100 * 100 * 2 * 3
    assert inspect(real_dicom("rtplan"), 10**6) == 1


def test_compressed_pixels_count_as_they_are(tmp_path):
    """Whatever the header says of them."""
    data = pydicom.dcmread(real_dicom("SC_rgb_jpeg_gdcm"))
    data.Rows = data.Columns = 8
    data.save_as(tmp_path / "x.dcm")
    assert inspect(tmp_path / "x.dcm", 10**6) == 100 * 100 * 3


def test_all_files_of_a_folder_count(tmp_path):
    """What an archive unpacks to may be far more in memory than on disk."""
    write_series(tmp_path / "series", [0.0, 2.0, 4.0])
    (tmp_path / "series" / "notes.txt").write_text("none of it")
    assert inspect(tmp_path / "series", 72) == 3 * 4 * 6
    with pytest.raises(TooLargeError):
        inspect(tmp_path / "series", 71)
    clip = tmp_path / "clip"
    clip.mkdir()
    for number in range(5):
        Image.new("L", (20, 10)).save(clip / f"{number}.png")
    assert inspect(clip, 1000) == 1000
    (clip / "5.png").write_bytes((clip / "4.png").read_bytes()[:20])
    assert inspect(clip, 1001) == 1001  # damaged: reading it says how
    with pytest.raises(TooLargeError):
        inspect(clip, 1000)
