"""What several command lines ask, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from slmsam2.errors import RunCancelledError, SlmSam2Error

CANNOT = 2  # what a command returns that cannot do its work, as argparse does
INTERRUPTED = 75  # that can go on: "temporary failure", as in sysexits.h
BY_KEYBOARD = 130  # that Ctrl-C has ended, as shells have it


def at_least(lowest: int) -> Callable[[str], int]:
    """An argument type: a whole number from ``lowest``."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"'{text}' must be a whole number, {lowest} or more")
        return int(text)

    return number


def one_of(endings: Sequence[str]) -> Callable[[str], Path]:
    """An argument type: a file with one of these endings; a wrong one is seen before the work is done."""

    def checked(text: str) -> Path:
        if not text.lower().endswith(tuple(endings)):
            raise argparse.ArgumentTypeError(f"'{text}' must end in {', '.join(endings)}")
        return Path(text)

    return checked


def add_studies(parser: argparse.ArgumentParser) -> None:
    """Add ``--studies``, the folder that a server serves, and ``--extensions``, which of its files are images."""
    parser.add_argument("--studies", type=Path, required=True, help="the folder the server is started with")
    parser.add_argument(
        "--extensions",
        nargs="+",
        default=["*.nii.gz", "*.nii", "*.nrrd"],
        help="which files are images (%(default)s)",
    )


def exit_status(tool: str, work: Callable[[], object]) -> int:
    """Do a command's work; what goes wrong is said in a sentence.

    Args:
        tool: name of the command.

    Returns:
        The exit status.
    """
    try:
        work()
    except RunCancelledError as error:
        status, sentence = INTERRUPTED, str(error)
    except (SlmSam2Error, OSError) as error:
        status, sentence = CANNOT, str(error)
    except KeyboardInterrupt:
        status, sentence = BY_KEYBOARD, "interrupted."
    else:
        return 0
    sys.stderr.write(f"{tool}: {sentence}\n")
    return status
