"""The image archive (PACS): it is not waited for for ever, and done without where it fails for one series only."""

from __future__ import annotations

from typing import Any

from dicomweb_client import DICOMwebClient
from monailabel.interfaces.exception import MONAILabelException
from pydicom.errors import InvalidDicomError
from requests import HTTPError, PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from slmsam2.errors import ArchiveError, TransferError, VolumeError

WAIT = (10.0, 60.0)  # seconds, to be connected and for the next bytes
BUSY = (429, 503)  # answers of an archive that may do it a moment later
NOT_LET_IN = (401, 403)
_OF_ONE = (
    ArchiveError,
    TransferError,
    VolumeError,
    MONAILabelException,
    InvalidDicomError,
    AttributeError,  # and what else objects that are not as DICOM has it lead to, in pydicom and in converters
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def is_of_one(error: Exception) -> bool:
    """Whether an error is about the one series that was asked for, and not about the archive or this machine."""
    if isinstance(error, HTTPError):
        return error.response is None or error.response.status_code not in (*BUSY, *NOT_LET_IN)
    return isinstance(error, _OF_ONE)


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
