"""The ``--conf`` settings of the app, checked once at start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from slmsam2.errors import ConfigurationError
from slmsam2.modeling import QUALITY, SPEEDS, load_config, model_directory
from slmsam2.server.running.devices import check_own_device
from slmsam2.volume import parse_window

MOST_VOXELS = 10**9  # 512 x 512 x 3800
OF_MONAI_LABEL = {"server_mode"}  # read by MONAILabelApp itself


@dataclass(frozen=True)
class Configuration:
    """What ``monailabel start_server --conf <name> <value>`` may set.

    Attributes:
        model: name of a configuration and of its weights file.
        model_dir: folder with ``checkpoints`` and ``configs``; None: ``$SLMSAM2_MODEL_DIR``, else the
            repository's.
        device: "cpu", "cuda", "cuda:1" or a GPU's name; None: a GPU when there is one.
        preset: intensity window for requests that ask for none; None: chosen from the image.
        speed: how accurate and how fast, for requests that do not say.
        threads: of the processor, for inference; None: see :func:`slmsam2.threads.limit_threads`.
        auto_train_every: training starts by itself after so many newly submitted labels; 0: never.
        only_approved: whether a submitted label is learnt from only once a reviewer has approved it.
        looks: whether structures in a submitted label are known by their looks in the next image, before any training.
        most_megabytes: bound on a request's body, and on what an archive in it unpacks to.
        most_megavoxels: bound on a volume.
        most_kept_megabytes: that images, features and passes of earlier requests may take, of the memory or the GPU's;
            None: see :func:`slmsam2.server.running.shortage.default_bytes`.
        most_waiting: inferences that may wait for another; further ones are refused with 429.
        most_seconds: that an inference may take from when it came, waiting included; then it is given up with 504.
            0: as long as it takes.
        labels: names of the structures to annotate, in this order: viewers begin with a segment for each.
        modalities: of the series that a PACS is asked for, unless MONAI Label's own search filter is set.
        origins: of pages of other servers that may use this one from a browser, such as "https://viewer.example.org".
        hosts: names by which this server is reached, such as "label.example.org"; addresses and names without a dot
            need not be given.
    """

    model: str = "slm_sam2_nano"
    model_dir: Path | None = None
    device: str | None = None
    preset: str | None = None
    speed: str = QUALITY
    threads: int | None = None
    auto_train_every: int = 0
    only_approved: bool = False
    looks: bool = True
    most_megabytes: int = 2048
    most_megavoxels: int = MOST_VOXELS // 10**6
    most_kept_megabytes: int | None = None
    most_waiting: int = 24
    most_seconds: int = 1800
    labels: tuple[str, ...] = ("Structure 1",)
    modalities: tuple[str, ...] = ("CT", "MR")
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def most_bytes(self) -> int:
        return self.most_megabytes * 10**6

    @property
    def most_voxels(self) -> int:
        return self.most_megavoxels * 10**6

    @property
    def most_kept_bytes(self) -> int | None:
        return None if self.most_kept_megabytes is None else self.most_kept_megabytes * 10**6


def read_configuration(conf: Mapping[str, str]) -> Configuration:
    """Check the settings given at start.

    Raises:
        ConfigurationError: an unknown name or a value that is not allowed; the message lists what is.
    """
    allowed = [field.name for field in fields(Configuration)]
    unknown = sorted(set(conf) - set(allowed) - OF_MONAI_LABEL)
    if unknown:
        raise ConfigurationError(
            f"There is no setting {', '.join(unknown)}. --conf knows: {', '.join(allowed)}."
        )
    given = {name: conf[name].strip() for name in allowed if str(conf.get(name) or "").strip()}
    folder = model_directory(given.get("model_dir"))
    if not folder.is_dir():
        raise ConfigurationError(f"The model folder {folder} does not exist. Correct --conf model_dir.")
    load_config(given.get("model", Configuration.model), folder)
    parse_window(None, given.get("preset"))
    if given.get("speed", QUALITY) not in SPEEDS:
        raise ConfigurationError(f"--conf speed must be one of {', '.join(SPEEDS)}, not {given['speed']!r}.")
    if "device" in given:
        check_own_device(given["device"])
    return Configuration(
        model=given.get("model", Configuration.model),
        model_dir=Path(given["model_dir"]) if "model_dir" in given else None,
        device=given.get("device"),
        preset=given.get("preset"),
        speed=given.get("speed", QUALITY),
        threads=_count("threads", given, 1) if "threads" in given else None,
        auto_train_every=_count("auto_train_every", given, 0),
        only_approved=_switch("only_approved", given),
        looks=_switch("looks", given),
        most_megabytes=_count("most_megabytes", given, 1),
        most_megavoxels=_count("most_megavoxels", given, 1),
        most_kept_megabytes=(
            _count("most_kept_megabytes", given, 0) if "most_kept_megabytes" in given else None
        ),
        most_waiting=_count("most_waiting", given, 0),
        most_seconds=_count("most_seconds", given, 0),
        labels=_labels(given.get("labels")),
        modalities=_modalities(given.get("modalities")),
        origins=_origins(given.get("origins", "")),
        hosts=_hosts(given.get("hosts", "")),
    )


def _labels(text: str | None) -> tuple[str, ...]:
    """Names from "liver,spleen"; None: the default."""
    if text is None:
        return Configuration.labels
    names = tuple(_listed(text))
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(
            f"--conf labels must be names such as liver,spleen, each once, not {text!r}."
        )
    return names


def _modalities(text: str | None) -> tuple[str, ...]:
    """DICOM's short names from "CT,MR"; None: the default."""
    if text is None:
        return Configuration.modalities
    names = tuple(name.strip().upper() for name in text.split(","))
    if not all(re.fullmatch("[A-Z]{2,16}", name) for name in names):
        raise ConfigurationError(
            f"The modalities {text!r} are not understood. Give DICOM's names, such as CT,MR."
        )
    return names


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.rstrip("/").lower() for origin in _listed(text))  # as browsers send them
    for origin in origins:
        if not re.fullmatch(r"https?://[^/\s]+", origin):
            raise ConfigurationError(
                f"--conf origins must be addresses such as https://viewer.example.org, with commas, not {origin!r}."
            )
    return origins


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(host.lower() for host in _listed(text))
    for host in hosts:
        if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", host):
            raise ConfigurationError(
                f"--conf hosts must be names such as label.example.org, with commas, not {host!r}."
            )
    return hosts


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _switch(name: str, given: Mapping[str, str]) -> bool:
    text = given.get(name, str(getattr(Configuration, name))).lower()
    if text not in ("true", "false"):
        raise ConfigurationError(f"--conf {name} must be true or false, not {text!r}.")
    return text == "true"


def _count(name: str, given: Mapping[str, str], least: int) -> int:
    text = given.get(name, str(getattr(Configuration, name)))
    if not text.isdecimal() or int(text) < least:
        raise ConfigurationError(f"--conf {name} must be a number, {least} or more, not {text!r}.")
    return int(text)
