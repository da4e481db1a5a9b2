"""Weights files: reading the three kinds there are, writing our own."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from slmsam2.errors import CheckpointError
from slmsam2.files import write_whole
from slmsam2.modeling.moments import Moments

if TYPE_CHECKING:
    from slmsam2.modeling.network import SLMSAM2

FORMAT = 1
SHORT_TERM = ("recent_memory_attention.", "recent_memory_fuser.")
NEVER_READ = ("rec_maskmem_tpos_enc",)  # in published files, of no effect
FUSER_SEED = 0
# Settings that belong to the weights: a checkpoint that carries them overrules the configuration file.
WEIGHT_SETTINGS = (
    "image_size",
    "recent_n",
    "fuse_unconditioned",
    "last_mask_prompt",
    "follow_motion",
    "carried_weight",
)

# What reading a file that is no weights file can raise.
_UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    pickle.UnpicklingError,
)
NAMED = 3  # parameters of each kind that do not fit, in a message


@dataclass(frozen=True)
class Checkpoint:
    """A weights file in memory.

    Attributes:
        path: where it came from.
        kind: "slmsam2" (our own), "published" (SLM-SAM 2 without our metadata), "sam2" (no short branch).
        weights: parameter name -> tensor.
        settings: network settings the weights were trained with (our own files only).
        version: what the file calls itself, else the first 12 digits of its SHA-256.
        trained: how it was trained, as written by the trainer.
        unread: parameters of published files that have no effect; kept so that a conversion loses nothing.
        looks: structure -> what it looks like, in features of these weights.
    """

    path: Path
    kind: Literal["slmsam2", "published", "sam2"]
    weights: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    trained: dict[str, Any] = field(default_factory=dict)
    unread: dict[str, Tensor] = field(default_factory=dict)
    looks: dict[str, Moments] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a ``.pt`` file with a top-level ``"model"`` dictionary; nothing in it is executed.

    Raises:
        CheckpointError: missing, damaged, not of this form, not finite, or written by a newer release.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"There is no weights file {path}. Put one there, or fetch SAM 2.1's with "
            "scripts/download_checkpoints.py, or use the embedded model slm_sam2_nano."
        )
    content = load_content(path)
    if not isinstance(content, dict) or not _is_state_dict(content.get("model")):
        raise CheckpointError(
            f"{path} has no top-level 'model' dictionary of tensors; it is no SAM 2 checkpoint."
        )
    weights = {k: v for k, v in content["model"].items() if k not in NEVER_READ}
    unread = {k: v for k, v in content["model"].items() if k in NEVER_READ}
    if not all(v.isfinite().all() for v in weights.values()):
        raise CheckpointError(
            f"{path} holds weights that are not finite, as of a training that diverged. Take an earlier file."
        )
    meta = content.get("slmsam2")
    if meta is None:
        kind: Literal["published", "sam2"] = (
            "published" if any(k.startswith(SHORT_TERM) for k in weights) else "sam2"
        )
        return Checkpoint(path, kind, weights, version=file_digest(path), unread=unread)
    looks = _looks_in(content.get("looks", {}), path)
    return Checkpoint(path, "slmsam2", weights, *_checked_metadata(meta, path), unread, looks)


def _checked_metadata(meta: Any, path: Path) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Settings, version and training, of what :func:`metadata` made."""
    written = meta.get("format") if isinstance(meta, dict) else None
    if written != FORMAT:
        raise CheckpointError(f"{path} was written in format {written}; this release reads format {FORMAT}.")
    settings, version, trained = meta.get("settings"), meta.get("version"), meta.get("trained", {})
    known = isinstance(settings, dict) and all(
        isinstance(one, (bool, int, float)) for one in settings.values()
    )
    if not (known and isinstance(version, str) and isinstance(trained, dict)):
        raise CheckpointError(f"{path} does not say how its weights are to be used. Export them again.")
    return settings, version, trained


def published_content(checkpoint: Checkpoint, network: SLMSAM2) -> dict[str, Any]:
    """Weights in the published format: float32, with the parameter that is never read; our metadata stay beside them.

    Args:
        checkpoint: of SLM-SAM 2 weights.
        network: the network they were loaded into.

    Returns:
        The content of a ``.pt`` file. The published tool reads ``"model"``; this package reads all of it.

    Raises:
        CheckpointError: the published network cannot do what these weights need.
    """
    needed = [
        name for name in ("last_mask_prompt", "follow_motion", "carried_weight") if getattr(network, name)
    ]
    if needed:
        raise CheckpointError(
            f"{checkpoint.path} needs {' and '.join(needed)}, which the published network does not have: only weights "
            "of the Hiera models can be converted."
        )
    unread = {
        "rec_maskmem_tpos_enc": torch.zeros_like(checkpoint.weights["maskmem_tpos_enc"]),
        **checkpoint.unread,
    }
    weights = {k: v.float() if v.is_floating_point() else v for k, v in (checkpoint.weights | unread).items()}
    content: dict[str, Any] = {"model": weights}
    if checkpoint.kind == "slmsam2":
        content["slmsam2"] = metadata(network, checkpoint.version, checkpoint.trained)
    return content


def own_content(checkpoint: Checkpoint, network: SLMSAM2, version: str) -> dict[str, Any]:
    """Weights of any kind in our own format; tensors are not changed.

    Args:
        checkpoint: as read.
        network: the network they were loaded into; of SAM 2.1's it has started the short branch.
        version: a name for them.
    """
    weights = checkpoint.weights | checkpoint.unread
    if checkpoint.kind == "sam2":
        weights = dict(network.state_dict())
    return _with_looks({"model": weights, "slmsam2": metadata(network, version, checkpoint.trained)}, network)


def mean_content(
    checkpoints: Sequence[Checkpoint],
    network: SLMSAM2,
    version: str,
    shares: Sequence[float] | None = None,
) -> dict[str, Any]:
    """The weighted mean of several weights of one network, in our own format and with the number types of the first.

    After M. Wortsman et al. (2022), Model soups: weights that were learnt from a common beginning can be averaged.

    Args:
        checkpoints: of our own format, one at least.
        network: the network the first was loaded into.
        version: a name for the mean.
        shares: of each, positive; they are divided by their sum. None: all the same.

    Raises:
        CheckpointError: another format, networks that differ, or shares that do not fit.
    """
    shares = shares or [1.0] * len(checkpoints)
    if len(shares) != len(checkpoints) or not all(0 < share < math.inf for share in shares):
        raise CheckpointError(f"Give a positive share for each of the {len(checkpoints)} files.")
    first = checkpoints[0]
    for one in checkpoints:
        if one.kind != "slmsam2":
            raise CheckpointError(f"{one.path} is not in this project's format: convert it first.")
        if one.settings != first.settings or _shapes(one) != _shapes(first):
            raise CheckpointError(f"{one.path} and {first.path} are not weights of the same network.")
    parts = [(share / sum(shares), one) for share, one in zip(shares, checkpoints, strict=True)]
    weights = dict(first.weights)
    for name, weight in first.weights.items():
        if weight.is_floating_point():
            mean = torch.stack([share * one.weights[name].double() for share, one in parts]).sum(dim=0)
            weights[name] = mean.to(weight.dtype)
    trained = {
        "mean_of": [{"version": one.version, "share": share, "trained": one.trained} for share, one in parts]
    }
    return {"model": weights, "slmsam2": metadata(network, version, trained)}


def metadata(network: SLMSAM2, version: str, trained: dict[str, Any]) -> dict[str, Any]:
    """What our own format keeps beside the weights."""
    return {
        "format": FORMAT,
        "config": network.info.get("model"),
        "version": version,
        "settings": {name: getattr(network, name) for name in WEIGHT_SETTINGS},
        "trained": json.loads(json.dumps(trained)),
    }


def save_checkpoint(
    path: str | Path,
    network: SLMSAM2,
    *,
    version: str,
    trained: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and metadata in one piece.

    Args:
        version: a name for these weights, shown to users.
        trained: how they were made: plain numbers, strings, lists and dictionaries.
        dtype: floating-point type on disk; float16 halves the file.
    """
    weights = {
        k: v.detach().cpu().to(dtype if v.is_floating_point() else v.dtype).contiguous()
        for k, v in network.state_dict().items()
    }
    meta = metadata(network, version, trained)
    write_content(Path(path), _with_looks({"model": weights, "slmsam2": meta}, network))


def write_looks(path: Path, looks: Mapping[str, Moments]) -> None:
    """Write what structures look like, by name, in one piece."""
    write_content(path, _parts(looks))


def read_looks(path: Path) -> dict[str, Moments]:
    """Read a file of :func:`write_looks`.

    Raises:
        CheckpointError: missing, damaged, or not of this form.
    """
    return _looks_in(load_content(path), path)


def _with_looks(content: dict[str, Any], network: SLMSAM2) -> dict[str, Any]:
    """With what the network knows of structures' looks beside the weights that the features are of."""
    return content | {"looks": _parts(network.looks)} if network.looks else content


def _parts(looks: Mapping[str, Moments]) -> dict[str, dict[str, Tensor]]:
    return {name: one.to("cpu").tensors() for name, one in looks.items()}


def _looks_in(content: Any, path: Path) -> dict[str, Moments]:
    try:
        return {name: Moments(**parts) for name, parts in content.items()}
    except (TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} holds looks of structures that this release cannot read.") from error


def load_content(path: Path) -> Any:
    """What a weights file holds; nothing in it is executed.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} cannot be read as a weights file: {_reason(error)}") from error


def write_content(path: Path, content: dict[str, Any]) -> None:
    """Write a weights file in one piece."""
    write_whole(path, lambda stream: torch.save(content, stream))


def load_weights(network: SLMSAM2, checkpoint: Checkpoint) -> None:
    """Fill the network; SAM 2.1 weights also start the short branch (see :func:`start_short_branch`).

    Raises:
        CheckpointError: names missing, unexpected or wrongly shaped parameters, the first of each and how many.
    """
    wanted = network.state_dict()
    optional = SHORT_TERM if checkpoint.kind == "sam2" else ()  # startswith(()) is never true
    missing = [k for k in wanted if k not in checkpoint.weights and not k.startswith(optional)]
    unexpected = [k for k in checkpoint.weights if k not in wanted]
    misshapen = [
        f"{k} {tuple(v.shape)} instead of {tuple(wanted[k].shape)}"
        for k, v in checkpoint.weights.items()
        if k in wanted and v.shape != wanted[k].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "wrongly shaped": misshapen}
    if any(problems.values()):
        listed = "; ".join(f"{what}: {_some(names)}" for what, names in problems.items() if names)
        raise CheckpointError(
            f"{checkpoint.path} does not fit this network ({listed}). Choose the matching model."
        )
    network.load_state_dict(checkpoint.weights, strict=not optional)
    if checkpoint.kind == "sam2":
        start_short_branch(network)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


def start_short_branch(network: SLMSAM2) -> None:
    """Start the short branch of a network with SAM 2 weights so that its output equals SAM 2's.

    The attention weights are copied from the long branch and its last LayerNorm is zeroed: the branch adds nothing
    until the first gradient steps open it. The fuser is near the identity (layer scale 1e-6) and drawn from a fixed
    seed, so the same file always gives the same network.
    """
    network.recent_memory_attention.load_state_dict(network.memory_attention.state_dict())
    norm = network.recent_memory_attention.get_submodule("norm")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for parameter in norm.parameters():
            parameter.zero_()
        torch.manual_seed(FUSER_SEED)
        for module in network.recent_memory_fuser.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.reset_parameters()


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, dict) and bool(content) and all(isinstance(v, Tensor) for v in content.values())
    )


def _shapes(checkpoint: Checkpoint) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in checkpoint.weights.items()}


def file_digest(path: Path) -> str:
    """The first 12 digits of a file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]


def _reason(error: BaseException) -> str:
    if isinstance(error, pickle.UnpicklingError):  # PyTorch's advice is to execute what is in the file
        return "it is something else, or holds more than tensors and plain values."
    return (str(error).splitlines() or [type(error).__name__])[0]
