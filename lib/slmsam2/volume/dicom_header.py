"""The header of a DICOM file: the few fields needed here, and whether the file is what it says.

GDCM (through SimpleITK) believes what a damaged file says of lengths, and asks for gigabytes of memory that it does
not always give back; sequences within sequences without end overflow its stack, which ends the process. A file goes to
it only after it was followed from element to element here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, UncompressedTransferSyntaxes
from pydicom.valuerep import VR
from pydicom.values import convert_SQ

from slmsam2.errors import VolumeError

_UNREADABLE = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,  # raised by pydicom for a kind of value that it does not know
    ArithmeticError,
    RecursionError,
    struct.error,
)
_PREFIX_LENGTH, _MAGIC = 128, b"DICM"
_UNDEFINED = 0xFFFFFFFF  # the length of what ends with a mark
_ITEM_MARKS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # in little and big endian
_SEQUENCE_END = (0xFFFE, 0xE0DD)
_KINDS = frozenset(VR)
_DEEPEST = 50  # sequences within sequences; the standard's own objects have less than ten

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Plane:
    """What a file says of a slice, or of one of its frames.

    Attributes:
        position: of the first voxel, LPS mm; (): not stated.
        directions: in which columns follow one another, then rows, LPS, three numbers each; where they are not stated
            those that ITK takes then.
        spacing: between rows and between columns, mm; (): not stated.
        rescaling: slope and intercept of the values.
    """

    position: tuple[float, ...] = ()
    directions: tuple[float, ...] = AXIAL
    spacing: tuple[float, ...] = ()
    rescaling: tuple[float, float] = (1.0, 0.0)


@dataclass(frozen=True)
class Header:
    """What is needed of a header.

    Attributes:
        modality: in capitals; None: not stated.
        frames: 1 for a single slice.
        planes: one for each frame; (): a file of several frames does not tell them apart.
        shape: columns, rows, frames and values per voxel; (): it states none, so there is no image.
        compressed: the pixels are; then they may turn out to have another shape.
    """

    modality: str | None
    frames: int
    planes: tuple[Plane, ...]
    shape: tuple[int, ...]
    compressed: bool


def is_dicom(path: Path) -> bool:
    """Whether a file carries the DICOM mark after its 128-byte preamble."""
    try:
        with path.open("rb") as file:
            return file.read(_PREFIX_LENGTH + len(_MAGIC))[_PREFIX_LENGTH:] == _MAGIC
    except OSError:
        return False


def read_header(path: Path) -> Header:
    """Read the header, all of it.

    Raises:
        VolumeError: there is none; or it is damaged: an element is of no known kind, cut short or nested without end;
            or the data set is deflated as a whole, of which nobody knows beforehand what it unpacks to.
    """
    try:
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise VolumeError(_deflated(path))
        with path.open("rb") as file:
            tags = pydicom.dcmread(file, stop_before_pixels=True)
            whole = _is_orderly(meta, tags) and _is_whole(meta) and _is_whole(tags)
            whole = whole and _skip_pixels(file, tags) and _is_whole(_rest(file, tags))
        if not whole:
            raise VolumeError(_damaged(path))
        frames = int(tags.get("NumberOfFrames") or 1)
        return Header(
            modality=str(tags.get("Modality") or "").strip().upper() or None,
            frames=frames,
            planes=_planes(tags, frames),
            shape=_shape(tags, frames),
            compressed=meta.TransferSyntaxUID not in UncompressedTransferSyntaxes,
        )
    except _UNREADABLE as error:
        raise VolumeError(_damaged(path)) from error


def _shape(tags: Dataset, frames: int) -> tuple[int, ...]:
    if "Rows" not in tags or "Columns" not in tags:
        return ()
    return (int(tags.Columns), int(tags.Rows), frames, int(tags.get("SamplesPerPixel") or 1))


def _planes(tags: Dataset, frames: int) -> tuple[Plane, ...]:
    """One for each frame, from its functional groups where the file has them (PS3.3, C.7.6.16)."""
    groups = list(tags.get("PerFrameFunctionalGroupsSequence") or ())
    if not groups:
        return (_plane([tags]),) if frames == 1 else ()
    shared = list(tags.get("SharedFunctionalGroupsSequence") or ())
    return tuple(_plane([group, *shared]) for group in groups) if len(groups) == frames else ()


def _plane(parts: Sequence[Dataset]) -> Plane:
    def numbers(group: str, name: str, count: int) -> tuple[float, ...]:
        for part in parts:
            for place in (part, *(part.get(group) or ())):
                values = place.get(name)
                if values not in (None, ""):
                    listed = tuple(map(float, values if count > 1 else [values]))
                    return listed if len(listed) == count else ()
        return ()

    (slope,) = numbers("PixelValueTransformationSequence", "RescaleSlope", 1) or (1.0,)
    (intercept,) = numbers("PixelValueTransformationSequence", "RescaleIntercept", 1) or (0.0,)
    return Plane(
        numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6) or AXIAL,
        numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        (slope, intercept),
    )


def _is_whole(part: Dataset, depth: int = 0) -> bool:
    """Whether each element is whole, with all that is nested in it; ``depth``: in how many sequences the part lies."""
    # Iterating over the data set itself would decode every element.
    return depth < _DEEPEST and all(_element_is_whole(part.get_item(tag), depth) for tag in part.keys())  # noqa: SIM118


def _element_is_whole(element: RawDataElement | DataElement, depth: int) -> bool:
    """Whether it is of a kind that DICOM knows (PS3.5, table 6.2-1) and has the bytes it says it has."""
    if isinstance(element, RawDataElement):
        value = element.value or b""
        if element.VR is not None and element.VR not in _KINDS:
            return False
        if element.length not in (len(value), _UNDEFINED):
            return False
        if element.VR not in (VR.SQ, None) or not value.startswith(_ITEM_MARKS):
            return True
        items = convert_SQ(value, element.is_implicit_VR, element.is_little_endian)
    elif element.VR == VR.SQ:
        items = element.value
    else:
        return True
    return all(_is_whole(item, depth + 1) for item in items)


def _skip_pixels(file: BinaryIO, tags: Dataset) -> bool:
    """Go past the pixels; whether they, or each piece of them when compressed (PS3.5, A.4), end within the file."""
    order = "<" if tags.is_little_endian else ">"
    start = file.read(8)
    if not start:
        return True  # there are none
    names_its_kind = start[4:6].isalpha() and not tags.is_implicit_VR  # some writers leave out this very one
    if names_its_kind:
        start = file.read(4)
    (length,) = struct.unpack(f"{order}I", start[-4:])
    if length != _UNDEFINED:
        file.seek(length, os.SEEK_CUR)
    else:
        _skip_pieces(file)
    return file.tell() <= os.fstat(file.fileno()).st_size


def _skip_pieces(file: BinaryIO) -> None:
    while len(start := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHI", start)
        file.seek(length, os.SEEK_CUR)
        if (group, element) == _SEQUENCE_END:
            return


def _rest(file: BinaryIO, tags: Dataset) -> Dataset:
    """What follows the pixels: padding, signatures."""
    return read_dataset(file, bool(tags.is_implicit_VR), bool(tags.is_little_endian))


def _is_orderly(meta: FileMetaDataset, tags: Dataset) -> bool:
    """Whether what stands before the data set (group 2) is in order, names the way in which the data set is written,
    and ends where that begins (PS3.10, 7.1)."""
    before = list(meta.keys())
    astray = tags.group_dataset(0) or tags.group_dataset(2)
    return before == sorted(before) and meta.TransferSyntaxUID.is_valid and not astray


def _damaged(path: Path) -> str:
    return f"'{path.name}' is damaged or not a DICOM file. Export it again."


def _deflated(path: Path) -> str:
    return f"'{path.name}' is a deflated DICOM file. Export it with another transfer syntax."
