#!/usr/bin/env python
"""Convert between the paper's layout of pictures and volumes: NIfTI, DICOM, a MONAI Label folder.

    python scripts/convert.py layout --images ct/ --labels ct_labels/ --output data/liver --list train.txt
    python scripts/convert.py layout --datastore ~/studies --output data/liver --list train.txt
    python scripts/convert.py nifti --data data/liver --output volumes/
    python scripts/convert.py datastore --data data/liver --output ~/studies
    python scripts/convert.py seg --data data/liver --series ct/ --output segmentations/

The layout is images/<volume>/00000.jpg, masks/<volume>/00000.png (object ids) and lists of volumes. Masks come back bit
for bit, on the very grid they had, which is kept in geometry/<volume>.json. JPEG loses: with --lossless the images are
written to images_png, too (PNG of 8 or 16 bits), from which volumes of whole numbers come back bit for bit. A volume is
a file (.nii.gz, .nii, .nrrd, .mha, .dcm), a folder of DICOM slices, or a folder of pictures; the frames of a clip
(multi-frame DICOM) become slices. Labels may be DICOM SEG files; seg writes them, for the DICOM series of the volumes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import exit_status
from slmsam2.errors import ConfigurationError, SlmSam2Error
from slmsam2.paper.convert import (
    DATASTORE_FILE,
    FINAL,
    Converted,
    StoredLabel,
    add_to_list,
    from_layout,
    label_names_of,
    note_in_datastore,
    structure_names,
    to_layout,
)
from slmsam2.paper.layout import (
    IMAGES,
    LOSSLESS_IMAGES,
    MASKS,
    Entry,
    entries,
    find_volume,
    names_in,
    read_list,
)
from slmsam2.paper.volumes import read_stack
from slmsam2.volume import PRESETS, Volume, parse_window, write_label


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    return exit_status("convert", lambda: args.command(args))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    layout = commands.add_parser("layout", help="volumes -> pictures")
    source = layout.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, help="folder with a file or folder per volume")
    source.add_argument("--datastore", type=Path, help="folder of a MONAI Label server: its final labels")
    layout.add_argument("--labels", type=Path, help="folder with the labels, named like the images")
    layout.add_argument("--output", type=Path, required=True, help="folder to write images/ and masks/ to")
    layout.add_argument("--list", help="list to add the volumes to, such as train.txt")
    layout.add_argument("--only", type=Path, help="list of the volumes to convert (all)")
    layout.add_argument("--axis", type=int, choices=(0, 1, 2), help="stored axis to slice along")
    window = layout.add_mutually_exclusive_group()
    window.add_argument(
        "--window", help="level/width that becomes 0 to 255; below 0: --window=-600/1500 (chosen)"
    )
    window.add_argument("--preset", choices=sorted(PRESETS), help="intensities by name")
    layout.add_argument("--lossless", action="store_true", help="write images_png as well")
    layout.set_defaults(command=make_layout)
    for name, command, text in (
        ("nifti", make_nifti, "pictures -> images/*.nii.gz and labels/*.nii.gz"),
        ("datastore", make_datastore, "pictures -> a folder for the MONAI Label server"),
        ("seg", make_segmentations, "masks -> DICOM SEG"),
    ):
        back = commands.add_parser(name, help=text)
        back.add_argument("--data", type=Path, required=True, help="folder with images/ and masks/")
        back.add_argument("--masks", type=Path, help="other masks, such as inference.py's results")
        back.add_argument("--only", type=Path, help="list of the volumes to convert (all)")
        back.add_argument("--output", type=Path, required=True)
        if command is make_segmentations:
            back.add_argument(
                "--series", type=Path, required=True, help="folder with a DICOM folder per volume"
            )
        back.set_defaults(command=command)
    return parser.parse_args(argv)


def make_layout(args: argparse.Namespace) -> None:
    images, labels, names = args.images, args.labels, {}
    if args.datastore:
        images, labels = args.datastore, args.datastore / "labels" / FINAL
        names = label_names_of(args.datastore)
    listed = read_list(args.only) if args.only else names_in(images)
    if args.datastore and not args.only:
        listed = [name for name in listed if name != "labels" and find_volume(labels, name)]
    if not listed:
        raise ConfigurationError(f"There is nothing to convert in '{images}'.")
    window = parse_window(args.window, args.preset)

    def convert(entry: Entry) -> Converted:
        options = {"axis": args.axis, "window": window, "lossless": args.lossless}
        with readable_label(entry) as one:
            return to_layout(one, args.output, names=names.get(entry.name), **options)

    done, failed = each(entries(listed, images, labels, need_masks=labels is not None), convert)
    if args.list and done:
        add_to_list(args.output / args.list, [one.name for one in done])
    tell(done, args.output, failed)


@contextmanager
def readable_label(entry: Entry) -> Iterator[Entry]:
    """The entry; while open, a DICOM SEG of its label is a NIfTI file."""
    if entry.mask is None or entry.mask.suffix.lower() != ".dcm":
        yield entry
        return
    from slmsam2.server.datastore.dicom_seg import read_segmentation  # imports MONAI Label

    with tempfile.TemporaryDirectory() as folder:
        label, path = read_segmentation(entry.mask), Path(folder) / "label.nii.gz"
        write_label(path, label.array, label)
        yield Entry(entry.name, entry.image, path)


def layout_entries(args: argparse.Namespace) -> list[Entry]:
    """The volumes of a layout; the lossless images where they are there."""
    masks = args.masks or args.data / MASKS
    names = read_list(args.only) if args.only else names_in(args.data / IMAGES)
    there = args.masks is not None or masks.is_dir()
    found = entries(names, args.data / IMAGES, masks if there else None, need_masks=False)
    better = args.data / LOSSLESS_IMAGES
    return [Entry(e.name, better / e.name if (better / e.name).is_dir() else e.image, e.mask) for e in found]


def make_nifti(args: argparse.Namespace) -> None:
    def convert(entry: Entry) -> Converted:
        image = args.output / "images" / f"{entry.name}.nii.gz"
        label = args.output / "labels" / f"{entry.name}.nii.gz"
        return from_layout(entry, args.output, image, label)

    done, failed = each(layout_entries(args), convert)
    tell(done, args.output, failed)


def make_datastore(args: argparse.Namespace) -> None:
    label_names_of(args.output)  # damaged: known before anything is written
    stored = []

    def convert(entry: Entry) -> Converted:
        file, labels = f"{entry.name}.nii.gz", args.output / "labels" / FINAL
        image = find_volume(args.output, entry.name) or args.output / file
        label = find_volume(labels, entry.name) or labels / file
        one = from_layout(entry, args.output, image, label)
        if one.ids:
            endings = [path.name.removeprefix(entry.name) for path in (image, label)]
            names = structure_names(entry, one.ids)
            stored.append(StoredLabel(entry.name, *endings, names, one.label_kept))
        return one

    done, failed = each(layout_entries(args), convert)
    note_in_datastore(args.output, stored)
    tell(done, args.output, failed)
    print(f"names of the structures: {args.output / DATASTORE_FILE}")


def make_segmentations(args: argparse.Namespace) -> None:
    from slmsam2.server.datastore.dicom_seg import write_segmentation  # imports MONAI Label

    found = layout_entries(args)
    entries([entry.name for entry in found], args.series, None, need_masks=False)

    def convert(entry: Entry) -> Converted:
        stack = read_stack(entry)
        if stack.labels is None:
            raise ConfigurationError(f"'{entry.name}' has no masks: take it off the list.")
        label = Volume(stack.view.to_stored(stack.labels), stack.grid.affine)
        path = args.output / f"{entry.name}.dcm"
        write_segmentation(path, label, structure_names(entry, stack.ids), args.series / entry.name)
        return Converted(entry.name, len(stack.slices), stack.ids, image_kept=True)

    done, failed = each(found, convert)
    tell(done, args.output, failed)


def each(found: list[Entry], convert: Callable[[Entry], Converted]) -> tuple[list[Converted], list[str]]:
    """Convert one volume after the other: what was done, and a sentence for each that could not be."""
    done, failed = [], []
    for entry in progress(found):
        try:
            done.append(convert(entry))
        except SlmSam2Error as error:
            failed.append(f"{entry.name}: {error}")
    return done, failed


def progress(found: list[Entry]) -> tqdm:
    return tqdm(found, unit="volume", desc="converting", disable=None)


def tell(done: list[Converted], output: Path, failed: list[str]) -> None:
    """What became of the volumes.

    Raises:
        ConfigurationError: some could not be converted; the others were.
    """
    for one in done:
        print(f"{one.name}: {one.slices} slices, {image_text(one)}, {masks_text(one)}")
    print(f"{len(done)} volumes written to {output}")
    if failed:
        raise ConfigurationError("not converted: " + "; ".join(failed))


def image_text(one: Converted) -> str:
    if one.image_kept:
        return "image left as it is"
    return "image exact" if one.exact else "image not exact"


def masks_text(one: Converted) -> str:
    if not one.ids:
        return "no masks"
    if one.label_kept:
        return f"{len(one.ids)} objects, label left as it is"
    return f"{len(one.ids)} objects, masks {'exact' if one.exact_masks else 'resampled onto the grid of the image'}"


if __name__ == "__main__":
    sys.exit(main())
