"""What propagation costs, in processor time and memory, beside SAM 2 as its own package runs it."""

from slmsam2.benchmark.runs import Cost, measure
from slmsam2.benchmark.variants import Variant, variants_of

__all__ = ["Cost", "Variant", "measure", "variants_of"]
