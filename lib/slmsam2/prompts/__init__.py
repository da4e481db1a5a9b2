"""What the user gave, as prompts per structure and slice."""

from slmsam2.prompts.names import named_values
from slmsam2.prompts.painted import MOST_STRUCTURES, painted_structures, prompts_from_label

__all__ = ["MOST_STRUCTURES", "named_values", "painted_structures", "prompts_from_label"]
