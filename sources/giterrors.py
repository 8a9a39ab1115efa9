"""What goes wrong between us and a Git remote, in words for its users.

::

    TransientError                       (runtime.errors)
    └── GitOperationError                reason GitOperationFailed or EmptyGitRepository
        └── RevisionGoneError            the remote no longer has the commit it has just advertised
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import urllib3.exceptions as http
from dulwich.client import HTTPUnauthorized
from dulwich.errors import HangupException, NotGitRepository

from runtime import errors
from sources import gitclient, gitpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sources.auth.basic import Credentials

OPERATION_FAILED = "GitOperationFailed"
EMPTY_REPOSITORY = "EmptyGitRepository"

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_STATUSES = {403: "authorization failed", 429: "the server asks to slow down"}
_PASSING = (502, 503, 504)
_APP_ADVICE = (
    "; the installation of github app {} must include this repository, and the App have the "
    "permission to read contents: see `gitopsd github check`"
)
_GONE = ("not our ref", "unadvertised object")


class GitOperationError(errors.TransientError):
    """A Git operation failed; the next try may go better."""

    def __init__(self, text: str, *, reason: str = OPERATION_FAILED) -> None:
        super().__init__(reason, f"failed to checkout and determine revision: {text}")


class RevisionGoneError(GitOperationError):
    """The commit was advertised, and was gone when it was asked for: a force-push in between."""


class EmptyRepositoryError(errors.TransientError):
    """The remote has no references at all."""

    def __init__(self) -> None:
        super().__init__(EMPTY_REPOSITORY, "git repository is empty")


def translate(error: Exception, doing: str, credentials: Credentials) -> GitOperationError:
    """Return the leaf for whatever dulwich or urllib3 raised.

    Args:
        error: what they raised.
        doing: what was tried, such as ``unable to clone 'https://…'``.
        credentials: what was presented, which changes what a refusal means.
    """
    text = _USERINFO.sub("", _describe(error, credentials))
    kind = RevisionGoneError if any(words in text for words in _GONE) else GitOperationError
    return kind(f"{doing}: {text}")


def may_pass(error: BaseException) -> bool:
    """Tell whether the same may go well a moment later: the network, or a proxy, let us down."""
    return any(
        isinstance(
            cause,
            HangupException
            | http.ProtocolError
            | http.NameResolutionError
            | http.NewConnectionError,
        )
        or (isinstance(cause, gitclient.StatusError) and cause.status in _PASSING)
        for cause in _causes(error)
    )


def is_refusal(error: Exception) -> bool:
    """Tell whether a server did not accept what was presented, or shows us nothing for it."""
    return any(
        isinstance(cause, HTTPUnauthorized | NotGitRepository)
        or (isinstance(cause, gitclient.StatusError) and cause.status == HTTPStatus.FORBIDDEN)
        for cause in _causes(error)
    )


def _describe(error: Exception, credentials: Credentials) -> str:
    advice = ""
    if credentials.app and is_refusal(error):
        advice = _APP_ADVICE.format(credentials.app.id)
    authorized = bool(credentials.authorization or credentials.app or credentials.lender)
    for cause in _causes(error):
        text = _known(cause, authorized=authorized)
        if text:
            return text + advice
    return str(error) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what it was raised from, the innermost first.

    What is behind the failure of a proxy is not told from what is behind a server's, so that is
    the innermost.
    """
    chain: list[BaseException] = []
    while error is not None and len(chain) < 10:
        chain.append(error)
        if isinstance(error, http.ProxyError):
            break
        reason = getattr(error, "reason", None)
        error = reason if isinstance(reason, BaseException) else error.__cause__
    return reversed(chain)


def _known(error: BaseException, *, authorized: bool) -> str:
    match error:
        case HTTPUnauthorized():
            return (
                "authentication failed: the server refused the credentials"
                if authorized
                else ("authentication required")
            )
        case NotGitRepository():
            return "repository not found"
        case HangupException() | http.ProtocolError():
            return "the server closed the connection before its answer was complete"
        case gitpack.LimitError():
            return f"the repository is too large: {error}; see [limits] in config.toml"
        case gitclient.StatusError():
            return f"{_STATUSES.get(error.status, 'unexpected answer')}: {error}"
        case http.HTTPError():
            return _connecting(error)
        case _:
            return ""


def _connecting(error: http.HTTPError) -> str:
    match error:
        case http.SSLError():
            return f"TLS handshake failed: {_tls(error)}"
        case http.ProxyError():
            inner = error.original_error
            return f"cannot connect to the proxy: {inner.__cause__ or inner}"
        case http.NameResolutionError():
            return f"cannot resolve the host name: {error.__cause__ or error}"
        case http.NewConnectionError():
            return f"cannot connect: {error.__cause__ or error}"
        case http.ConnectTimeoutError():
            return "the server did not accept a connection in time"
        case http.ReadTimeoutError():
            return "the server stopped answering"
        case _:
            return ""


def _tls(error: BaseException) -> str:
    text = str(error.__cause__ or error)
    return re.sub(r"\s*\(_ssl\.c:\d+\)|^\[SSL: [A-Z_]+\] ", "", text)
