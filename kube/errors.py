"""What an API server refuses, by HTTP status; and the one place that turns it into an outcome.

::

    ApiError(status, reason, message, details)
    ├── BadRequest          400
    ├── Unauthorized        401
    ├── Forbidden           403
    ├── NotFound            404
    │   └── NoMatch             the kind is not served at all
    ├── Conflict            409
    │   └── AlreadyExists       409 with that reason
    ├── Gone                410: a list token or a resourceVersion is too old
    ├── Invalid             422
    ├── TooManyRequests     429
    ├── ServerError         5xx
    └── Unreachable         no answer: refused, reset, TLS, deadline

A message is the server's own only where the body is a ``Status``; whatever a proxy answers in its
place is not quoted.
"""

from __future__ import annotations

import msgspec

from api import meta
from runtime.errors import GitOpsError, TerminalError, TransientError

_MESSAGE_LIMIT = 8192
"""Characters of a server's message that are kept; a condition holds 32,768 bytes of several."""


class Cause(meta.Struct, frozen=True):
    """One field of an object and what is wrong with it."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Details(meta.Struct, frozen=True):
    """What a ``Status`` is about."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after_seconds: int = 0


class _Status(meta.Struct, frozen=True):
    kind: str = ""
    message: str = ""
    reason: str = ""
    details: Details = Details()


_NO_DETAILS = Details()
_STATUS = msgspec.json.Decoder(_Status)


class ApiError(Exception):
    """A request that an API server did not grant.

    Args:
        status: the HTTP status; 0 where there was no answer.
        reason: the ``reason`` of the ``Status``, e.g. ``FieldManagerConflict``; may be empty.
        message: the server's message.
        details: what the ``Status`` says beyond that.
        retry_after_s: seconds that the server asks to wait; None where it does not.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        details: Details = _NO_DETAILS,
        *,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after_s = retry_after_s


class BadRequest(ApiError):  # noqa: N818 - these are the field's own words
    """400: the request, or a manifest in it, cannot be read."""


class Unauthorized(ApiError):  # noqa: N818 - as above
    """401: the credentials are refused, also after they were renewed."""


class Forbidden(ApiError):  # noqa: N818 - as above
    """403: RBAC, an admission plug-in or a terminating namespace says no."""


class NotFound(ApiError):  # noqa: N818 - as above
    """404: no such object, namespace or resource."""


class NoMatch(NotFound):
    """The API server does not serve this kind; the message is Flux's."""

    def __init__(self, kind: str, api_version: str) -> None:
        super().__init__(
            404, "NotFound", f'no matches for kind "{kind}" in version "{api_version}"'
        )


class Conflict(ApiError):  # noqa: N818 - as above
    """409: another writer was faster, or another manager owns a field."""


class AlreadyExists(Conflict):
    """409 to a create: there is an object of that name."""


class Gone(ApiError):  # noqa: N818 - as above
    """410: list again from the start."""


class Invalid(ApiError):  # noqa: N818 - as above
    """422: the object breaks its schema or a validation rule."""


class TooManyRequests(ApiError):  # noqa: N818 - as above
    """429: the server is over its limits, also after the client waited as told."""


class ServerError(ApiError):
    """5xx: the server, a webhook or an aggregated API failed."""


class Unreachable(ApiError):  # noqa: N818 - as above
    """No answer at all.

    Args:
        message: what happened, with the server's address.
    """

    def __init__(self, message: str) -> None:
        super().__init__(0, "", message)


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def from_response(status: int, body: bytes, *, retry_after_s: float | None = None) -> ApiError:
    """Return the error that a response means.

    Args:
        status: its HTTP status, not a success.
        body: its body; quoted only if it is a ``Status``.
        retry_after_s: its ``Retry-After``, in seconds.
    """
    try:
        answer = _STATUS.decode(body)
    except msgspec.MsgspecError:
        answer = _Status()
    if answer.kind != "Status":
        answer = _Status(message=f"the server answered with HTTP status {status}")
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if kind is Conflict and answer.reason == "AlreadyExists":
        kind = AlreadyExists
    if retry_after_s is None and answer.details.retry_after_seconds:
        retry_after_s = float(answer.details.retry_after_seconds)
    return kind(
        status,
        answer.reason,
        answer.message[:_MESSAGE_LIMIT],
        answer.details,
        retry_after_s=retry_after_s,
    )


def to_leaf(error: ApiError, reason: str, prefix: str = "") -> GitOpsError:
    """Return the outcome of an API error where a kind's own contract names no other.

    What only another manifest can mend is terminal; all else may pass.

    Args:
        error: what the server said.
        reason: the condition reason to report it under.
        prefix: put before the message, e.g. ``"ConfigMap/a/b apply failed: "``.
    """
    message = prefix + error.message
    if isinstance(error, BadRequest | Invalid):
        return TerminalError(reason, message)
    return TransientError(reason, message, retry_after_s=error.retry_after_s)
