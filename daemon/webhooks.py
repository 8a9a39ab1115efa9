"""Incoming webhooks: ``/webhooks/github`` for all clusters, ``/hook/<digest>`` for Receivers.

A call can do one thing only: make an object look at its own world earlier than its interval would.
Nothing of a body is parsed before it is authenticated, its size is bounded while it is read, and
so are the bytes of all bodies together and the calls per second. A delivery that comes twice wakes
a queue that removes duplicates, so it is harmless.

Refusals are raised as ``aiohttp.web`` exceptions; nothing else leaves this module.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from aiohttp import web

from api import meta
from daemon import intake, pushes, signatures
from reconcilers import filters
from runtime import conditions
from runtime.errors import GitOpsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from api.meta import ObjectRef
    from api.notification import Receiver
    from api.source import GitRepository
    from runtime.clock import Clock

GITHUB_LIMIT_BYTES: Final = 25 * 2**20
"""GitHub sends nothing larger."""
RECEIVER_LIMIT_BYTES: Final = 3 * 2**20
"""Flux's own limit."""
BODIES_LIMIT_BYTES: Final = 2 * GITHUB_LIMIT_BYTES
"""Bytes of all bodies that may be in memory at once."""
CALLS_PER_S: Final = 50.0
BURST: Final = 200
"""Calls that may come at once before `CALLS_PER_S` bounds them."""

_LOG = logging.getLogger(__name__)


class Endpoint(Protocol):
    """One Receiver of one cluster, as a call finds it."""

    @property
    def receiver(self) -> Receiver:
        """The object."""
        ...

    async def token(self) -> bytes:
        """Return the shared secret.

        Raises:
            GitOpsError: it cannot be read.
        """
        ...

    async def request(self, call: filters.Call) -> int:
        """Ask every resource that a call reaches to reconcile; return how many could not be."""
        ...


class Targets(Protocol):
    """What calls can reach: the sources and Receivers of every cluster."""

    def repositories(self) -> Iterable[tuple[str, GitRepository]]:
        """Yield every GitRepository with the name of its cluster."""
        ...

    def endpoints(self) -> Iterable[Endpoint]:
        """Yield every Receiver."""
        ...

    def wake(self, ref: ObjectRef, cause: str) -> None:
        """Queue an object for reconciliation."""
        ...


class Woken(msgspec.Struct, frozen=True):
    """The answer to a delivery."""

    event: str
    ref: str = ""
    woken: tuple[str, ...] = ()
    """``<cluster>/GitRepository/<namespace>/<name>`` of every object that was queued."""


class Webhooks:
    """The handlers.

    Args:
        targets: what calls can reach.
        github_secret: gives the secret entered at GitHub, read anew for each delivery so that a
            changed setting counts at once; None refuses every delivery.
        clock: measures the rate.
    """

    def __init__(
        self, targets: Targets, *, github_secret: Callable[[], bytes | None], clock: Clock
    ) -> None:
        self._targets, self._github_secret = targets, github_secret
        self._rate = intake.Rate(clock, CALLS_PER_S, BURST)
        self._bodies = intake.Bodies(BODIES_LIMIT_BYTES)

    def application(self) -> web.Application:
        """Return an application that answers at the two paths."""
        app = web.Application()
        app.router.add_post("/webhooks/github", self.github)
        app.router.add_route("*", "/hook/{digest}", self.receiver)
        return app

    async def github(self, request: web.Request) -> web.Response:
        """Answer one delivery of GitHub: wake every source that follows what was pushed.

        Answers 200 with what was woken, 202 where nothing follows it, 400 for what cannot be read,
        401 for a missing or wrong signature, 413 for too large a body, 429 and 503 under a flood.
        """
        self._rate.take()
        intake.check_length(request, GITHUB_LIMIT_BYTES)
        try:
            header = request.headers.get(signatures.GITHUB_SHA256)
            signature = signatures.Signature(header, self._github_secret() or b"")
            async with self._bodies.read(request, GITHUB_LIMIT_BYTES, signature.update) as body:
                signature.check()
                return self._deliver(request, body)
        except signatures.SignatureError as err:
            intake.refuse(web.HTTPUnauthorized, str(err))
        except signatures.PayloadError as err:
            intake.refuse(web.HTTPBadRequest, str(err))

    def _deliver(self, request: web.Request, body: bytes) -> web.Response:
        """Act on an authenticated delivery.

        Raises:
            PayloadError: it cannot be read.
        """
        event = request.headers.get("X-GitHub-Event", "")
        if not event:
            raise signatures.PayloadError("the header X-GitHub-Event is missing")
        text = signatures.payload(request.content_type, body)
        if event != "push":
            _check_json(text)
            return _answer(Woken(event), status=200 if event == "ping" else 202)
        push = _push(text)
        woken = self._wake(push, cause=f"GitHub push to {push.ref}")
        return _answer(Woken(event, push.ref, woken), status=200 if woken else 202)

    def _wake(self, push: pushes.Push, cause: str) -> tuple[str, ...]:
        """Queue every source that the push concerns."""
        keys = [
            source.ref(cluster)
            for cluster, source in self._targets.repositories()
            if pushes.concerns(push, source)
        ]
        for key in keys:
            self._targets.wake(key, cause)
        return tuple(f"{key.cluster}/{key}" for key in keys)

    async def receiver(self, request: web.Request) -> web.Response:
        """Answer one call of a Receiver with Flux's statuses and an empty body.

        One path may lead to the same Receiver in several clusters: the digest is made of token,
        name and namespace. The answer is then the worst of theirs.
        """
        self._rate.take()
        async with self._bodies.read(request, RECEIVER_LIMIT_BYTES) as body:
            found = self._find(request.raw_path)
            statuses = [await self._call(endpoint, request, body) for endpoint in found]
        return web.Response(status=max(statuses, default=404))

    def _find(self, path: str) -> Sequence[Endpoint]:
        """Return the Receivers at a path, compared so that timing tells nothing of it."""
        asked = path.encode(errors="replace")
        return [
            endpoint
            for endpoint in self._targets.endpoints()
            if (own := endpoint.receiver.status.webhook_path)
            and hmac.compare_digest(own.encode(), asked)
        ]

    async def _call(self, endpoint: Endpoint, request: web.Request, body: bytes) -> int:
        """Authenticate a call at one Receiver and act on it; return the status to answer."""
        receiver = endpoint.receiver
        ready = conditions.is_true(receiver.status.conditions, meta.READY)
        if receiver.spec.suspend or not ready:
            return 503
        try:
            _authenticate(receiver, await endpoint.token(), request, body)
        except signatures.CallError as err:
            _LOG.warning(
                "receiver refused a call",
                extra={"namespace": receiver.metadata.namespace, "reason": str(err)},
            )
            return 400
        except GitOpsError:
            return 500
        failures = await endpoint.request(filters.Call(request.content_type, body))
        return 500 if failures else 200


def _authenticate(receiver: Receiver, token: bytes, request: web.Request, body: bytes) -> None:
    """Check a call as the type of its Receiver demands.

    Unlike Flux, an empty token never authenticates anybody.

    Raises:
        CallError: the call is refused.
    """
    match receiver.spec.type:
        case "generic":
            return
        case "generic-hmac":
            _verify(signatures.Signature(request.headers.get(signatures.GENERIC), token), body)
        case "github":
            _verify(signatures.github(request.headers, token), body)
            _check_json(signatures.payload(request.content_type, body))
            _check_event(receiver, request.headers.get("X-GitHub-Event", ""))
        case other:
            raise signatures.SignatureError(f"receivers of type {other} are not served")


def _verify(signature: signatures.Signature, body: bytes) -> None:
    signature.update(body)
    signature.check()


def _check_event(receiver: Receiver, event: str) -> None:
    """Refuse an event that the Receiver does not list."""
    wanted = {each.casefold() for each in receiver.spec.events}
    if wanted and event.casefold() not in wanted:
        raise signatures.PayloadError("the event is not one that the receiver lists")


def _push(text: bytes) -> pushes.Push:
    """Read the payload of a push."""
    try:
        return msgspec.json.decode(text, type=pushes.Push)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise signatures.PayloadError("the payload is not that of a push event") from err


def _check_json(text: bytes) -> None:
    """Refuse a payload that is not JSON."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise signatures.PayloadError("the payload is not JSON") from err


def _answer(answer: Woken, *, status: int) -> web.Response:
    _LOG.info("webhook delivered", extra={"event": answer.event, "woken": list(answer.woken)})
    return web.Response(
        body=msgspec.json.encode(answer), status=status, content_type="application/json"
    )
