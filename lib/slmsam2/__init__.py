"""SLM-SAM 2 for annotation servers: paint one slice of a structure, get the volume."""

from slmsam2.engine import propagate_volume

__all__ = ["propagate_volume"]
