"""What a cloud says about one of its clusters, and what its refusals mean."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from sources import web
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

_SAID: Final = 256
"""Characters of a refusal that are quoted."""
_FORBIDDEN: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class Described:
    """Where a cluster is, as its cloud says."""

    servers: Mapping[str, bytes]
    """Its addresses, the usual one first, each with the PEM of the authority that vouches for it;
    empty for those that the system trusts."""


class Subject(NamedTuple):
    """Which cluster is asked for, in words."""

    name: str
    """Such as ``EKS cluster 'prod' in eu-west-1``."""
    permission: str
    """What whoever asks has to be allowed."""


class _Inner(msgspec.Struct, frozen=True):
    message: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    message: str = ""
    Message: str = ""
    error: _Inner = _Inner()


async def ask(answer: Awaitable[bytes], subject: Subject) -> bytes:
    """Return what a cloud answers about a cluster.

    Raises:
        CredentialsError: it refuses, or cannot be reached; the message says what to do.
    """
    try:
        return await answer
    except web.StatusError as err:
        raise CredentialsError(_explained(err, subject)) from err
    except web.WebError as err:
        raise CredentialsError(f"{subject.name} cannot be described: {err}") from err


def authority(text: str, subject: Subject) -> bytes:
    """Return the PEM that a cloud spells in base64.

    Raises:
        CredentialsError: it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as err:
        raise unusable(subject) from err


def unusable(subject: Subject) -> CredentialsError:
    """Return the error for an answer that does not say where the cluster is."""
    return CredentialsError(f"the cloud does not say where {subject.name} is; is it ready?")


def _explained(err: web.StatusError, subject: Subject) -> str:
    said = _said(err.body) or str(err)
    if err.status == HTTPStatus.NOT_FOUND:
        return f"there is no {subject.name}: {said}"
    if err.status in _FORBIDDEN:
        return (
            f"{subject.name} may not be described: {said}; allow {subject.permission}, or put "
            "address and ca.crt into the ConfigMap"
        )
    return f"{subject.name} cannot be described: {said}"


def _said(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    text = found.error.message or found.message or found.Message
    return " ".join(text.split())[:_SAID].rstrip(".")
