"""Which of MONAI Label's processes this is."""

from __future__ import annotations

import sys
from typing import Any


def server_application() -> Any:
    """The server's FastAPI application; None in the process of a training, scoring or batch job."""
    module = sys.modules.get("monailabel.app")
    return None if module is None else module.app
