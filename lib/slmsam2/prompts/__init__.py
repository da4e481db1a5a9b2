"""What the user gave, as prompts per structure and slice."""

from slmsam2.prompts.corrections import (
    Known,
    chosen_in,
    corrected_in,
    corrected_planes,
    marked_across,
    painted_in,
    painted_of,
    with_marks,
    without_marks,
)
from slmsam2.prompts.kin import Kin, kin_of, says_what
from slmsam2.prompts.marks import BOX_CORNERS, NEGATIVE, POSITIVE, Marks, Prompt, extent_of, is_empty
from slmsam2.prompts.names import (
    all_named,
    counts_by_order,
    label_names,
    listed_names,
    named_pairs,
    named_values,
)
from slmsam2.prompts.painted import MOST_STRUCTURES, painted_structures, prompts_from_label
from slmsam2.prompts.planes import Across, Given, Planes, masks_across

__all__ = [
    "BOX_CORNERS",
    "MOST_STRUCTURES",
    "NEGATIVE",
    "POSITIVE",
    "Across",
    "Given",
    "Kin",
    "Known",
    "Marks",
    "Planes",
    "Prompt",
    "all_named",
    "chosen_in",
    "corrected_in",
    "corrected_planes",
    "counts_by_order",
    "extent_of",
    "is_empty",
    "kin_of",
    "label_names",
    "listed_names",
    "marked_across",
    "masks_across",
    "named_pairs",
    "named_values",
    "painted_in",
    "painted_of",
    "painted_structures",
    "prompts_from_label",
    "says_what",
    "with_marks",
    "without_marks",
]
