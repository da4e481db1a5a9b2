"""The MONAI Label app."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import requests
import schedule
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.sessions import Sessions

from slmsam2.engine import Workspace
from slmsam2.errors import SlmSam2Error
from slmsam2.modeling.build import learnt_folder
from slmsam2.server.configuration import read_configuration
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.datastore.kept_sessions import KeptSessions
from slmsam2.server.datastore.label_records import review_summary
from slmsam2.server.datastore.notes import notes
from slmsam2.server.datastore.pacs import PacsDatastore
from slmsam2.server.infer import KINDS, STUDY, SlmSam2Infer
from slmsam2.server.learning.at_once import learn_from
from slmsam2.server.learning.auto_train import AutoTrainer
from slmsam2.server.learning.looks import SeenLooks
from slmsam2.server.learning.scoring import KEY, DiceScoring, correction_summary
from slmsam2.server.learning.shapes import SeenShapes
from slmsam2.server.learning.submissions import Submitted
from slmsam2.server.learning.train import SlmSam2Train
from slmsam2.server.memory.proposals import Proposals
from slmsam2.server.memory.steps import Memory
from slmsam2.server.requests.parameters import label_tag, request_id
from slmsam2.server.requests.received import received
from slmsam2.server.requests.study import LabelFrom, Study, find_study
from slmsam2.server.routes.answers import archive_failed, refusal, unreachable
from slmsam2.server.routes.monitoring import monitor
from slmsam2.server.running.background import Background
from slmsam2.server.running.line import line
from slmsam2.server.running.models import ModelStore
from slmsam2.server.running.prefetch import Prefetcher
from slmsam2.server.running.process import server_application
from slmsam2.server.running.runs import runs
from slmsam2.server.running.shortage import default_bytes
from slmsam2.server.sampling import (
    HandedOut,
    LeastConfident,
    MostDifferent,
    Random,
    VectorStore,
    confidence_note,
)
from slmsam2.threads import limit_threads
from slmsam2.training.registry import Registry

logger = logging.getLogger(__name__)

MOST_LISTED = 5  # files that are not served
TASK = "slmsam2"  # name of the infer and of the train task


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
            labels=list(self._configuration.labels),
        )
        self._auto_trainer = self._make_auto_trainer()
        self._scoring: Background[None] = Background("scoring", lambda _: self.scoring({"method": "dice"}))
        server = server_application()
        if server is not None:
            limit_threads(self._configuration.threads, leave=1)
            from slmsam2.server.routes.install import install

            install(server, Path(app_dir), self._configuration)

    def init_datastore(self) -> Datastore:
        """A folder, or what MONAI Label makes of an address."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        folder = FolderDatastore(
            self.studies,
            extensions=settings.MONAI_LABEL_DATASTORE_FILE_EXT,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )
        if server_application() is not None:
            _tell_what_is_not_served(folder)
        return folder

    def _load_sessions(self, load: bool = False) -> Sessions | None:
        folder, expiry = settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY
        if not load:
            return None
        return KeptSessions(folder, expiry, lambda image: self._prefetcher.opened(lambda: image))

    def _init_dicomweb_datastore(self) -> Datastore:
        return PacsDatastore(super()._init_dicomweb_datastore(), self._configuration.modalities)

    def _make_auto_trainer(self) -> AutoTrainer | None:
        conf = self._configuration
        if not conf.auto_train_every:
            return None
        return AutoTrainer(
            TASK, conf.auto_train_every, self.submitted, lambda: Registry(conf.model, conf.model_dir)
        )

    def init_infers(self) -> dict[str, InferTask]:
        conf = self._configuration
        kept = default_bytes() if conf.most_kept_bytes is None else conf.most_kept_bytes
        learnt = learnt_folder(conf.model, conf.model_dir)
        memory, workspace = Memory(folder=learnt / "work"), Workspace.within(kept)
        self._memory, self._proposals = memory, Proposals()
        line.most = conf.most_waiting
        line.most_seconds = conf.most_seconds or math.inf
        monitor.watch(self._models, memory, workspace)
        self._prefetcher = Prefetcher(self._models, workspace, conf)
        self._looks = SeenLooks(self._models, conf.device) if conf.looks else None
        self._shapes = SeenShapes(learnt / "shapes") if conf.looks else None
        self._submitted: Background[str | None] = Background("submitted labels", self._learn_from)
        self._models.on_change = self._catch_up
        return {
            name: SlmSam2Infer(
                kind, self._models, memory, self._proposals, workspace, conf, self._looks, self._shapes
            )
            for name, kind in KINDS.items()
        }

    def init_trainers(self) -> dict[str, TrainTask]:
        conf = self._configuration
        return {TASK: SlmSam2Train(conf.model, conf.model_dir, conf.device, conf.only_approved)}

    def init_strategies(self) -> dict[str, Strategy]:
        handed = self._handed = HandedOut()
        most_different = MostDifferent(handed, VectorStore(self._models, self._configuration.device))
        return {
            "random": Random(handed),
            "least_confident": LeastConfident(handed, most_different),
            "most_different": most_different,
        }

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        return {"dice": DiceScoring(self._proposals)}

    def info(self) -> dict[str, Any]:
        """MONAI Label's description of the app, how much people still correct, how many labels are reviewed, and what
        was learnt of structures."""
        seen = {"looks": self._looks, "shapes": self._shapes}
        volumes = {what: one.volumes() if one else {} for what, one in seen.items()}
        datastore = self.datastore()
        told = {KEY: correction_summary(datastore), "review": review_summary(datastore)}
        return {**super().info(), **told, **volumes}

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
            with runs.follow(request_id(request)):
                study = find_study(request, received.get(), datastore or self.datastore(), tag, source)
                result = super().infer({**request, STUDY: study}, datastore)
        except SlmSam2Error as error:
            logger.info("Refused: %s", error)
            raise refusal(error) from error
        monitor.took(str(model), result["params"].get("latencies", {}))
        if study.image_id is not None:
            also = confidence_note(result["params"].get("report", {}))
            told = (study.image_id, received.get().annotator, datastore or self.datastore(), also)
            notes.add(partial(self._handed.go_on, *told))
        return result

    def next_sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Choose the image to label next; nothing when all are labelled.

        Raises:
            HTTPException: 404 unknown strategy; 409 others work on all that is left; 502 or 504 no answer
                from the archive.
        """
        strategy = request.get("strategy")
        if strategy not in self._strategies:
            known = ", ".join(self._strategies)
            raise HTTPException(404, f"There is no strategy {strategy!r}. This server has: {known}.")
        notes.finish()  # what was inferred before counts
        try:
            chosen = super().next_sample(request)
        except requests.RequestException as error:
            logger.warning("No next sample: %s", error)
            raise archive_failed(error) from error
        except OSError as error:
            logger.warning("No next sample: %s", error)
            raise unreachable("next image") from error
        image = chosen.get("id") if chosen else None
        if image:
            self.image_opened(image)
        return chosen

    def image_opened(self, image_id: str) -> None:
        """Fetch an image of the datastore and read it soon: somebody is about to work on it."""
        self._prefetcher.opened(lambda: self.datastore().get_image_uri(image_id))

    def image_added(self, image_id: str, file: Path, client: str) -> None:
        """What a client did on an image in a session goes on under the id with which it is saved now.

        3D Slicer opens a session for an image of its own, saves it with the first label, and asks by its id then.

        Args:
            image_id: in the datastore.
            file: the image as it was sent; it is the session's when their bytes are the same.
        """
        try:
            session = str(Study(None, file, None).lasting_id)
            saved = str(Study(image_id, Path(self.datastore().get_image_uri(image_id)), None).lasting_id)
        except (LookupError, OSError) as error:  # it may be deleted at any time
            logger.info("What was done on %s is not known under its new name: %s", image_id, error)
            return
        self._memory.move(client, session, saved)
        self._proposals.move(client, session, saved)

    def submitted(self) -> Submitted:
        """The labels to learn from."""
        return Submitted(self.datastore(), self._configuration.only_approved)

    def label_reviewed(self, image_id: str) -> None:
        """Learn from what was approved, and forget what was flagged; train when it is time."""
        self._labels_changed(image_id)

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any] | None:
        """Compare what was submitted with what was proposed, learn how its structures look, train when it is time."""
        if self._auto_update_scoring:
            self.async_scoring(None)
        self._labels_changed(image_id)
        return super().on_save_label(image_id, label_id)

    def _labels_changed(self, image_id: str) -> None:
        if self._auto_trainer is not None:
            self._auto_trainer.labels_changed()
        self._catch_up(image_id)

    def server_mode(self, mode: bool) -> None:
        """MONAI Label calls it when the server has started; it may have been ended before it had learnt all labels."""
        super().server_mode(mode)
        self._catch_up()
        if self._auto_trainer is not None:
            schedule.every().minute.do(self._auto_trainer.look_again)  # MONAI Label runs what is due

    def _catch_up(self, submitted: str | None = None) -> None:
        """Learn soon what structures look like in a label that was submitted, and in all that are not known yet."""
        if self._configuration.looks and self._server_mode:
            self._submitted.add(submitted)

    def _learn_from(self, images: list[str | None]) -> None:
        changed = [image for image in images if image is not None]
        learners = [one for one in (self._shapes, self._looks) if one is not None]
        learn_from(self.submitted(), changed, learners, self._configuration.most_voxels)

    def async_scoring(self, method: str | None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What MONAI Label scores by itself is scored in a thread of the server.

        A process of its own, as for a method that somebody asks for, takes ten seconds to start and may write the list
        of labels over one that is newer. A training job needs none: labels are scored as they are saved.
        """
        if method is not None:
            return super().async_scoring(method, params)
        if self._server_mode and self._scoring_methods:
            self._scoring.add(None)
        return {}


def _tell_what_is_not_served(folder: FolderDatastore) -> None:
    others = folder.not_served()
    if others:
        logger.warning(
            "%d of the files and folders in the folder of studies are not served: %s. Images are files that lie in it "
            "themselves, in no folder of their own, with one of the endings %s (MONAI_LABEL_DATASTORE_FILE_EXT names "
            "others). Make one such file of each image; DICOM is served from a PACS.",
            len(others),
            ", ".join(others if len(others) <= MOST_LISTED else [*others[:MOST_LISTED], "..."]),
            ", ".join(pattern.lstrip("*") for pattern in settings.MONAI_LABEL_DATASTORE_FILE_EXT),
        )
