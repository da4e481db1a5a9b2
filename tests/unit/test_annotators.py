"""Who an annotator is, for Next Sample and for what is worked on."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import BackgroundTasks
from monailabel.config import settings
from monailabel.endpoints import infer
from monailabel.endpoints.user.auth import DEFAULT_USER
from monailabel.interfaces.app import MONAILabelApp

from slmsam2.server import app
from slmsam2.server.app import SlmSam2App
from slmsam2.server.requests.study import Study
from slmsam2.server.routes import inference as routes

pytestmark = pytest.mark.unit

SIGNED_IN = DEFAULT_USER.model_copy(update={"username": "ann"})


def sample(monkeypatch, params, user):
    """What the strategy and MONAI Label are told: client and user."""
    asked = []
    monkeypatch.setattr(routes.activelearning, "sample", lambda *told: asked.append(told))
    routes._next_sample({"strategy": "random", "params": params, "user": user})
    ((_, told, name),) = asked
    return told["client_id"], name


def test_browsers_that_do_not_sign_in_are_annotators_of_their_own(monkeypatch):
    assert sample(monkeypatch, {"client_id": "browser-1"}, DEFAULT_USER) == ("browser-1", "admin")
    assert sample(monkeypatch, None, DEFAULT_USER) == ("admin", "admin")


def test_who_signs_in_goes_by_that_name(monkeypatch):
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    assert sample(monkeypatch, {"client_id": "browser-1"}, SIGNED_IN) == ("ann", "ann")


@pytest.mark.parametrize(("signs_in", "name"), [(False, "browser-1"), (True, "ann")])
def test_an_inference_tells_who_works_on_the_image(monkeypatch, signs_in, name):
    noted = []
    served = object.__new__(SlmSam2App)
    served._infers, served._datastore = {"slmsam2": None}, "studies"
    served._handed = SimpleNamespace(go_on=lambda *told: noted.append(told))
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", signs_in)
    monkeypatch.setattr(app, "find_study", lambda *_: Study("ct", Path("ct"), None))
    monkeypatch.setattr(MONAILabelApp, "infer", lambda *_: {"params": {}})
    monkeypatch.setattr(infer, "run_inference", lambda **asked: served.infer({"model": asked["model"]}))
    asked = {"model": "slmsam2", "image": "ct", "output": None, "params": '{"client_id": "browser-1"}'}
    asked |= {"file": None, "label": None, "background_tasks": BackgroundTasks()}
    asked["user"] = SIGNED_IN if signs_in else DEFAULT_USER
    copy_context().run(routes._infer, 10**9, asked)
    with ThreadPoolExecutor(1) as thread:  # a browser of other tests may have a loop running in this one
        thread.submit(asyncio.run, asked["background_tasks"]()).result()
    assert noted == [("ct", name, "studies", {})]
