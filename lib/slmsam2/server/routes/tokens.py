"""MONAI Label's authentication, with the PyJWT of today, and a sentence when the realm cannot be asked."""

from __future__ import annotations

import functools
import logging
import types
from collections.abc import Callable
from typing import Any

import jwt
import requests
from fastapi import HTTPException
from monailabel.endpoints.user import auth
from monailabel.endpoints.user.auth import get_public_key, open_id_configuration

logger = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")


def mend_sign_in() -> None:
    """Mend MONAI Label's check of tokens; doing it again changes nothing.

    It says which signatures it takes: those made with a private key. MONAI Label 0.8.5 names none; PyJWT since 2.0 then
    refuses every token. And a realm that cannot be asked is answered with 503, not 500.
    """
    auth.jwt = types.SimpleNamespace(decode=functools.partial(jwt.decode, algorithms=ALGORITHMS))
    auth.get_public_key = _with_a_sentence(get_public_key)
    auth.open_id_configuration = _with_a_sentence(open_id_configuration)


def _with_a_sentence(ask: Callable[[str], Any]) -> Callable[[str], Any]:
    """A function that asks the realm at an address, and says so when there is no answer that can be used."""

    def asked(realm: str) -> Any:
        try:
            return ask(realm)
        except (requests.RequestException, LookupError, TypeError, ValueError) as error:
            logger.warning("Nobody can sign in, the realm %s cannot be used: %r", realm, error)
            raise HTTPException(
                503,
                "Nobody can sign in at present: the sign-in server does not answer as a Keycloak realm does at "
                f"{realm}. Check that it runs, and that MONAI_LABEL_AUTH_REALM_URI is its address, then try again.",
            ) from error

    return asked
