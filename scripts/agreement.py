#!/usr/bin/env python
"""How far people agree: labels of the same images that different people saved, structure by structure.

    python scripts/agreement.py --studies ~/studies
    python scripts/agreement.py --studies ~/studies --output output/agreement    # every pair, as agreement.csv

Of each person the newest label of an image counts; who has no name is told apart by the time of saving. Structures are
the same by name; what only one of two has painted says nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import add_studies, exit_status
from slmsam2.errors import ConfigurationError, SlmSam2Error
from slmsam2.evaluation.agreement import Labelled, Pair, compared, summary
from slmsam2.files import check_writable
from slmsam2.prompts import label_names, named_values
from slmsam2.server.datastore.creators import name_of
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.datastore.label_records import label_infos
from slmsam2.server.datastore.versions import PROPOSALS
from slmsam2.tables import write_rows
from slmsam2.volume import read_label

TABLE = "agreement.csv"


def main() -> int:
    args = parse_arguments()
    return exit_status("agreement", lambda: compare(args))


def compare(args: argparse.Namespace) -> None:
    if not args.studies.is_dir():
        raise ConfigurationError(f"there is no folder {args.studies}.")
    if args.output:
        check_writable(args.output / TABLE)
    store = FolderDatastore(str(args.studies), extensions=args.extensions, auto_reload=False)
    pairs: list[Pair] = []
    for image in sorted(store.list_images()):
        try:
            pairs += compared(image, labels_of(store, image))
        except SlmSam2Error as error:
            print(f"agreement: {image} is left out: {error}", file=sys.stderr)
    if not pairs:
        raise ConfigurationError("no two people have labelled the same structure of an image.")
    print_table(pairs)
    if args.output:
        write_rows(args.output / TABLE, pairs)


def labels_of(store: FolderDatastore, image: str) -> list[Labelled]:
    """The newest label of each person; none, if there is only one person."""
    tags: dict[str, str] = {}
    infos = label_infos(store, image)
    for tag in sorted(infos, key=lambda tag: infos[tag].get("ts", 0)):
        if tag != PROPOSALS:
            tags[name_of(infos[tag]) or tag] = tag
    if len(tags) < 2:
        return []
    people = []
    for person, tag in sorted(tags.items()):
        label = read_label(Path(store.get_label_uri(image, tag)))
        people.append(Labelled(person, label, named_values(label_names(infos[tag]), label.array)))
    return people


def print_table(pairs: list[Pair]) -> None:
    print("| structure | pairs | mean Dice | mean HD95 (mm) | least: Dice, image, people |")
    print("|---|---|---|---|---|")
    for one in summary(pairs):
        least = f"{one.least.dice:.3f}, {one.least.image}, {one.least.person} and {one.least.other}"
        print(f"| {one.structure} | {one.pairs} | {one.dice:.3f} | {one.hd95:.1f} | {least} |")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_studies(parser)
    parser.add_argument("--output", type=Path, help="folder for agreement.csv")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
