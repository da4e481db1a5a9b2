"""MONAI Label's authentication, with the PyJWT of today, and a sentence when the realm cannot be asked."""

from __future__ import annotations

import logging
import math
import time
import types
from collections.abc import Callable
from typing import Any

import jwt
import requests
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.endpoints.user import auth
from monailabel.endpoints.user.auth import User, from_token, get_public_key, open_id_configuration

logger = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
ASKED_EVERY = 60.0  # seconds: anybody may send tokens that the realm never signed


def mend_sign_in() -> None:
    """Mend MONAI Label's check of tokens; doing it again changes nothing.

    It says which signatures it takes: those made with a private key. MONAI Label 0.8.5 names none; PyJWT since 2.0 then
    refuses every token. A realm that cannot be asked is answered with 503, a token that cannot be read with 401, where
    both were 500. And a realm that signs with another key than when it was asked is asked again.
    """
    auth.jwt = types.SimpleNamespace(decode=_Signatures().decode)
    auth.from_token = _from_token
    auth.get_public_key = _with_a_sentence(get_public_key)
    auth.open_id_configuration = _with_a_sentence(open_id_configuration)


def _from_token(token: str) -> User:
    """Whose token it is.

    Raises:
        jwt.InvalidTokenError: it is none of the realm's, or does not say whose it is and which roles they have.
    """
    try:
        return from_token(token)
    except (jwt.PyJWTError, AttributeError, TypeError, ValueError) as error:
        raise jwt.InvalidTokenError(f"A token is refused: {error!r}") from error


class _Signatures:
    """Checks tokens by the realm's key, which MONAI Label asks for once: realms change theirs."""

    def __init__(self) -> None:
        self._asked = -math.inf

    def decode(self, token: str, key: str, options: Any) -> Any:
        """What a token says.

        Raises:
            jwt.PyJWTError: it is not good.
            HTTPException: 503, the realm does not answer.
        """
        try:
            return jwt.decode(token, key, algorithms=ALGORITHMS, options=options)
        except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
            if time.monotonic() < self._asked + ASKED_EVERY:
                raise
        self._asked = time.monotonic()
        realm = settings.MONAI_LABEL_AUTH_REALM_URI
        new = _with_a_sentence(get_public_key.__wrapped__)(realm)
        get_public_key.cache[get_public_key.cache_key(realm)] = new
        return jwt.decode(token, new, algorithms=ALGORITHMS, options=options)


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
