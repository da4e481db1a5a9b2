"""A request that starts anew with a structure forgets what was done on it, if it comes to its end."""

import nibabel as nib
import numpy as np
import pytest

from slmsam2.engine import Workspace
from slmsam2.errors import RunCancelledError
from slmsam2.prompts import Known
from slmsam2.server.configuration import Configuration
from slmsam2.server.infer import KINDS, STUDY, SlmSam2Infer
from slmsam2.server.memory.proposals import Proposals
from slmsam2.server.memory.steps import Key, Memory
from slmsam2.server.requests.study import Study
from slmsam2.server.running.models import ModelStore
from slmsam2.server.running.runs import Run, mine

pytestmark = pytest.mark.unit

SHAPE = (16, 16, 6)


@pytest.fixture
def study(tmp_path):
    """A bright block, painted on one slice."""
    image, label = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.uint8)
    image[4:12, 4:12, 1:5] = 100
    label[4:12, 4:12, 3] = 1
    for name, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    return Study("image", tmp_path / "image.nii.gz", tmp_path / "label.nii.gz")


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_request_that_fails_forgets_nothing(study, cancelled):
    memory, key = Memory(), Key(study.lasting_id, "me", "block")
    earlier = np.zeros((SHAPE[2], *SHAPE[:2]), bool)
    earlier[2] = True
    for number in range(2):
        memory.remember(key, Known(2, earlier, np.roll(earlier, number, axis=0)))
    task = SlmSam2Infer(
        KINDS["slmsam2"],
        ModelStore("slm_sam2_nano"),
        memory,
        Proposals(),
        Workspace(),
        Configuration(device="cpu"),
    )
    request = {
        STUDY: study,
        "label_info": [{"name": "block", "id": 1}],
        "client_id": "me",
        "start_anew": True,
    }
    token = mine.set(Run(cancelled=cancelled))
    try:
        if cancelled:
            with pytest.raises(RunCancelledError, match="Nothing has changed"):
                task(request)
        else:
            task(request)
    finally:
        mine.reset(token)
    steps = sum(memory.undo(key) is not None for _ in range(5))
    assert steps == (2 if cancelled else 1)
