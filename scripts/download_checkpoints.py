#!/usr/bin/env python
"""Fetch SAM 2.1 weights, the start for SLM-SAM 2 with a Hiera encoder. The embedded model needs none of this.

    python scripts/download_checkpoints.py tiny
    python scripts/download_checkpoints.py --all

Goes on where an interrupted download stopped. A file is put in place only when its SHA-256 is right.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.errors import CheckpointError, SlmSam2Error
from slmsam2.modeling import model_directory

URL_BASE = "https://dl.fbaipublicfiles.com/segment_anything_2/092824"
TIMEOUT = 30.0  # seconds, for connecting and from one piece to the next; a whole file may take hours
BLOCK = 1 << 20


@dataclass(frozen=True)
class Source:
    """A published weights file: its name, size in MB (roughly) and SHA-256."""

    name: str
    megabytes: int
    sha256: str


SOURCES = {
    "tiny": Source(
        "sam2.1_hiera_tiny.pt", 156, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"
    ),
    "small": Source(
        "sam2.1_hiera_small.pt", 184, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"
    ),
    "base_plus": Source(
        "sam2.1_hiera_base_plus.pt", 324, "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"
    ),
    "large": Source(
        "sam2.1_hiera_large.pt", 898, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"
    ),
}


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    folder = model_directory(args.model_dir) / "checkpoints"
    failed = 0
    for size in args.sizes:
        source = SOURCES[size]
        try:
            download(source, f"{args.url_base.rstrip('/')}/{source.name}", folder)
        except (SlmSam2Error, OSError) as error:
            failed += 1
            print(f"{source.name}: {error}", file=sys.stderr)
        except httpx.HTTPError as error:
            failed += 1
            print(
                f"{source.name}: no connection, or a broken one ({error or type(error).__name__}).",
                file=sys.stderr,
            )
            print(by_hand(source, folder), file=sys.stderr)
    return 1 if failed else 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = ", ".join(f"{size} ({source.megabytes} MB)" for size, source in SOURCES.items())
    parser.add_argument("sizes", nargs="*", metavar="size", help=sizes)
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument(
        "--model-dir", type=Path, help="model folder ($SLMSAM2_MODEL_DIR, else the repository's)"
    )
    parser.add_argument(
        "--url-base", default=URL_BASE, help="where the files are, for a mirror (%(default)s)"
    )
    args = parser.parse_args(argv)
    unknown = sorted(set(args.sizes) - set(SOURCES))
    if unknown:
        parser.error(f"unknown size {', '.join(unknown)}; known: {sizes}")
    if args.all:
        args.sizes = list(SOURCES)
    if not args.sizes:
        parser.error(f"say which: {sizes}, or --all")
    return args


def download(source: Source, url: str, folder: Path) -> None:
    """Fetch one file into `folder`, or find that it is there.

    Raises:
        CheckpointError: the server has no such file, or what came is not the published file.
        httpx.HTTPError: no connection, or one that broke; what came so far is kept for the next time.
        OSError: the disk.
    """
    target = folder / source.name
    if target.is_file() and sha256(target) == source.sha256:
        print(f"{target} is there already, and its SHA-256 is right")
        return
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    print(f"{url} -> {target}")
    fetch(url, partial)
    if sha256(partial) != source.sha256:
        partial.unlink()
        raise CheckpointError(
            "what came is damaged or another file (SHA-256 differs); it was removed. Try again."
        )
    partial.replace(target)
    print(f"{target} written, SHA-256 right")


def fetch(url: str, partial: Path) -> None:
    """Append the rest of the file at `url` to `partial`; from the start where the server cannot resume."""
    have = partial.stat().st_size if partial.is_file() else 0
    with httpx.stream(
        "GET", url, headers=resume_headers(have), timeout=TIMEOUT, follow_redirects=True
    ) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing; the checksum tells whether it is right
        if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise CheckpointError(f"the server answered {answer.status_code} {answer.reason_phrase}.")
        if not resumes_at(answer, have):
            have = 0
        rest = int(answer.headers.get("content-length", 0))
        if rest:
            print(
                f"{(have + rest) / 1e6:.1f} MB" + (f", of which {have / 1e6:.1f} MB are here" if have else "")
            )
        with (
            partial.open("ab" if have else "wb") as file,
            tqdm(total=have + rest or None, initial=have, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for block in answer.iter_raw():
                file.write(block)
                bar.update(len(block))


def resume_headers(have: int) -> dict[str, str]:
    # identity: a compressed transfer could not be resumed, and weights do not shrink
    return {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})


def resumes_at(answer: httpx.Response, have: int) -> bool:
    starts = answer.headers.get("content-range", "").startswith(f"bytes {have}-")
    if answer.status_code == httpx.codes.PARTIAL_CONTENT and not starts:
        raise CheckpointError("the server sent another part of the file than was asked for. Try again.")
    return answer.status_code == httpx.codes.PARTIAL_CONTENT


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def by_hand(source: Source, folder: Path) -> str:
    return (
        "Run the same command again to go on where it stopped. No internet at all? The embedded model\n"
        "slm_sam2_nano needs no download.\n"
        "To place the file by hand, fetch it on another machine from\n"
        f"  {URL_BASE}/{source.name}\n"
        "and copy it, under this name, to\n"
        f"  {folder / source.name}\n"
        f"Its SHA-256 is {source.sha256}. A mirror inside your network: --url-base http://..."
    )


if __name__ == "__main__":
    sys.exit(main())
