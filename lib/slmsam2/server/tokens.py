"""MONAI Label's authentication, with the PyJWT of today."""

from __future__ import annotations

import functools
import types

import jwt
from monailabel.endpoints.user import auth

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")


def name_algorithms() -> None:
    """Let MONAI Label's check of tokens say which signatures it takes: those made with a private key.

    MONAI Label 0.8.5 names none; PyJWT since 2.0 then refuses every token.
    """
    auth.jwt = types.SimpleNamespace(decode=functools.partial(jwt.decode, algorithms=ALGORITHMS))
