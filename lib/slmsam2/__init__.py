"""SLM-SAM 2 for annotation servers: paint one slice of a structure, get the volume."""

from typing import Any

__all__ = ["propagate_volume"]


def __getattr__(name: str) -> Any:
    """Import ``propagate_volume`` when it is asked for: training needs neither nibabel nor SimpleITK."""
    if name == "propagate_volume":
        from slmsam2.engine import propagate_volume

        return propagate_volume
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
