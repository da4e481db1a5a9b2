"""The MONAI Label app."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask

from slmsam2.engine import Workspace
from slmsam2.errors import SlmSam2Error
from slmsam2.server.answers import refusal
from slmsam2.server.configuration import read_configuration
from slmsam2.server.infer import KINDS, STUDY, SlmSam2Infer
from slmsam2.server.memory import Memory
from slmsam2.server.models import ModelStore
from slmsam2.server.parameters import label_tag
from slmsam2.server.received import received
from slmsam2.server.study import LabelFrom, find_study

logger = logging.getLogger(__name__)


class SlmSam2App(MONAILabelApp):
    """Serves SLM-SAM 2: paint one slice, get the volume.

    Every training or batch job builds the app again in a process of its own, so nothing is loaded here.

    Args:
        app_dir: folder of ``main.py``.
        studies: folder with images, or a DICOMweb URL.
        conf: what ``--conf`` gave; see :class:`slmsam2.server.configuration.Configuration`.

    Raises:
        ConfigurationError: an unknown setting, or a value that is not allowed.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]) -> None:
        self._configuration = read_configuration(conf)
        self._models = ModelStore(self._configuration.model, self._configuration.model_dir)
        if not self._models.path.is_file():
            logger.warning("No inference will work yet: there is no weights file %s", self._models.path)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=dict(conf),
            name="SLM-SAM 2",
            description="Paint one slice of a structure, get the volume",
            labels=[],
        )
        if "monailabel.app" in sys.modules:  # in the server, not in a job of its own
            from slmsam2.server.routes import install_routes

            install_routes(sys.modules["monailabel.app"].app)

    def init_infers(self) -> dict[str, InferTask]:
        conf = self._configuration
        memory, workspace = Memory(), Workspace()
        return {
            name: SlmSam2Infer(kind, self._models, memory, workspace, conf.device, conf.preset)
            for name, kind in KINDS.items()
        }

    def infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Run an infer task on an image of the datastore, of a session or of an upload, and on nothing else.

        Raises:
            HTTPException: 404 unknown model, image or session; 400 a request that cannot be served;
                503 no weights.
        """
        model = request.get("model")
        if model not in self._infers:
            known = ", ".join(self._infers)
            raise HTTPException(404, f"There is no model {model!r}. This server has: {known}.")
        try:
            source = KINDS[model].label if model in KINDS else LabelFrom.UPLOAD_OR_DATASTORE
            tag = label_tag(request)
            study = find_study(request, received.get(), datastore or self.datastore(), tag, source)
            return super().infer({**request, STUDY: study}, datastore)
        except SlmSam2Error as error:
            logger.info("Refused: %s", error)
            raise refusal(error) from error

    def infer_wsi(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Whole-slide images are refused: MONAI Label would open any file of the server for them."""
        raise HTTPException(
            400, "This server labels volumes, not whole-slide images. Use /infer/ with an image id."
        )
