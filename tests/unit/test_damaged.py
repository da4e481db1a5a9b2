"""Files that are cut short, altered or absurd: each is read, or refused with a sentence; nothing else happens."""

import random
import resource

import numpy as np
import pytest
import SimpleITK as sitk

from damage import WAYS, cut
from dicom_files import real_dicom, write_dicom
from slmsam2.errors import VolumeError
from slmsam2.server.datastore.inspection import inspect
from slmsam2.volume import Volume, read_label, read_volume, write_label

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore::UserWarning")]

EACH = 30  # files of a kind and a way to damage them
MOST_VOXELS = 10**6
MOST_MEMORY = 256  # MB that reading them may add; a length that is believed adds thousands

ENDINGS = [".nii", ".nii.gz", ".nrrd", ".mha", ".dcm"]
REAL_DICOM = [
    "MR_small_implicit",
    "MR_small_bigendian",
    "MR_small_jp2klossless",
    "SC_rgb_rle_2frame",
    "rtdose",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Ending -> bytes of a good file."""
    folder = tmp_path_factory.mktemp("whole")
    array = np.random.default_rng(0).integers(0, 3, (12, 10, 8)).astype(np.uint8)
    image, found = Volume(array, np.diag([-1.0, -1, 2, 1])), {}
    for ending in (".nii", ".nii.gz", ".nrrd", ".mha"):
        write_label(folder / f"x{ending}", array, image, dtype=None, compress=ending == ".nrrd")
        found[ending] = (folder / f"x{ending}").read_bytes()
    sitk.WriteImage(sitk.GetImageFromArray(array.astype(np.int16)[:, :, 0]), str(folder / "x.dcm"))
    found[".dcm"] = (folder / "x.dcm").read_bytes()
    return found | {name: real_dicom(name).read_bytes() for name in REAL_DICOM}


@pytest.fixture(autouse=True)
def memory_asked_for():
    """A damaged file asks for no more memory than a whole one."""
    before = peak_memory()
    yield
    assert peak_memory() - before < MOST_MEMORY


def peak_memory():
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_or_refuse(path, read):
    """Whether it was refused; anything but a volume or a sentence fails the test."""
    try:
        inspect(path, MOST_VOXELS)
        volume = read(path)
    except VolumeError as error:
        sentence = str(error)
    else:
        sentence = None
    if sentence is not None:
        assert sentence.endswith(".")
        return True
    assert volume.array.ndim == 3
    assert volume.array.size <= MOST_VOXELS
    return False


@pytest.mark.parametrize("damage", WAYS)
@pytest.mark.parametrize("kind", [*ENDINGS, *REAL_DICOM])
def test_damaged_files(whole, tmp_path, kind, damage):
    chance = random.Random(f"{kind} {damage.__name__}")
    path = tmp_path / (f"x{kind}" if kind in ENDINGS else "x.dcm")
    refused = 0
    for number in range(EACH):
        path.write_bytes(damage(whole[kind], chance))
        refused += read_or_refuse(path, read_label if number % 2 else read_volume)
    if damage is cut and path.suffix != ".dcm":  # a DICOM file may end in padding
        assert refused == EACH


def test_dicom_elements_of_no_known_kind(whole, tmp_path):
    """Their lengths would be read from other bytes; GDCM believes those."""
    content, path = whole[".dcm"], tmp_path / "x.dcm"
    places = [at for at in range(len(content)) if content[at : at + 2] == b"UI"]
    assert len(places) == 4
    for at in places:
        path.write_bytes(content[:at] + b"UM" + content[at + 2 :])
        assert read_or_refuse(path, read_volume)


def test_series_with_damaged_slices(tmp_path):
    chance = random.Random(0)
    folder = tmp_path / "series"
    folder.mkdir()
    for _ in range(8):
        files = [folder / f"{k}.dcm" for k in range(4)]
        for k, file in enumerate(files):
            where = {"ImagePositionPatient": [0, 0, k], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
            write_dicom(
                file, np.full((8, 6), k, np.int16), SeriesInstanceUID="1.2.4", PixelSpacing=[1, 1], **where
            )
        victim = chance.choice(files)
        victim.write_bytes(chance.choice(WAYS)(victim.read_bytes(), chance))
        read_or_refuse(folder, read_volume)
        for file in files:
            file.unlink()
