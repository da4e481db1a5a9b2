"""Which image an annotator is given next."""

from slmsam2.server.sampling.confidence import confidence_note
from slmsam2.server.sampling.handed_out import HandedOut
from slmsam2.server.sampling.most_different import MostDifferent
from slmsam2.server.sampling.strategies import LeastConfident, Random
from slmsam2.server.sampling.vectors import VectorStore

__all__ = ["HandedOut", "LeastConfident", "MostDifferent", "Random", "VectorStore", "confidence_note"]
