"""Waiting for the image archive (PACS): not for ever."""

from __future__ import annotations

from typing import Any

from dicomweb_client import DICOMwebClient
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import Retry

WAIT = (10.0, 60.0)  # seconds, to be connected and for the next bytes
BUSY = (429, 503)  # answers of an archive that may do it a moment later


class _Bounded(HTTPAdapter):
    """Gives every request that has no bound of its own those of all."""

    def send(
        self, request: PreparedRequest, stream: bool = False, timeout: Any = None, *args: Any, **kwargs: Any
    ) -> Response:
        return super().send(request, stream, timeout or WAIT, *args, **kwargs)


def bound_waiting(client: DICOMwebClient) -> None:
    """Let a client give up on an archive that hangs; one that says it is busy is asked three times.

    By itself a client waits without a bound, and asks five times whatever went wrong, with half a minute between.
    """
    client.set_http_retry_params(retry=False)
    busy = Retry(
        total=2,
        connect=0,
        read=False,  # as requests has it: so what takes too long is a ReadTimeout
        other=0,
        status_forcelist=BUSY,
        backoff_factor=0.5,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        client._session.mount(scheme, _Bounded(max_retries=busy))
