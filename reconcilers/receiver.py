"""Receiver: gives each webhook its path, and carries out what a call to it asks for.

The path is Flux's: the digest of token, name and namespace, so senders keep their URL when a
cluster moves here. A change of the Secret's token moves the path. Calls come in through
``daemon/webhooks.py``, which authenticates them at an `Endpoint`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from api import durations, meta, served
from api.notification import Receiver, ReceiverStatus
from kube import errors, references
from kube.objects import GVK, ObjectId
from reconcilers import filters, referenced, requests, steps
from runtime import conditions
from runtime.controller import Result
from runtime.errors import GitOpsError, TerminalError, TransientError

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from reconcilers.context import ClusterContext
    from runtime.controller import Run

TOKEN_NOT_FOUND: Final = "TokenNotFound"  # noqa: S105 - a condition reason
_TOKEN_KEY: Final = "token"  # noqa: S105 - the key in the Secret
_GVK: Final = GVK(Receiver.GROUP, Receiver.VERSION, Receiver.KIND)


def webhook_path(token: bytes, name: str, namespace: str) -> str:
    """Return the path of a Receiver's webhook; byte-equal to Flux's."""
    return f"/hook/{hashlib.sha256(token + name.encode() + namespace.encode()).hexdigest()}"


async def read_token(
    context: ClusterContext, receiver: Receiver, owner: ObjectRef | None = None
) -> bytes:
    """Return the token in the Secret of a Receiver.

    Args:
        context: the cluster.
        receiver: as last read.
        owner: the Receiver's key, if it is to be woken when the token changes.

    Raises:
        TransientError: the Secret or its key is missing, or cannot be read now.
    """
    namespace = receiver.metadata.namespace
    name = receiver.spec.secret_ref.name if receiver.spec.secret_ref else ""
    try:
        target = ObjectId(namespace, name, "", references.SECRET)
        secret = await referenced.read(context, target, owner)
    except errors.ApiError as err:
        text = f"unable to read token from secret '{namespace}/{name}' error: {err.message}"
        raise TransientError(TOKEN_NOT_FOUND, text) from err
    try:
        token = base64.b64decode(secret["data"][_TOKEN_KEY], validate=True)
    except (KeyError, TypeError, binascii.Error):
        token = b""
    if not token:
        text = f"invalid '{namespace}/{name}' secret data: required fields '{_TOKEN_KEY}'"
        raise TransientError(TOKEN_NOT_FOUND, text)
    return token


class ReceiverReconciler:
    """Writes the path and the conditions of Receivers.

    Args:
        context: the cluster.
    """

    kind = Receiver.KIND

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self._kind = steps.Kind(
            _GVK, context.receivers, meta.NOTIFICATION_MANAGER, "notification-controller"
        )

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result:
        """Make the status say where the webhook is, or why there is none.

        Raises:
            TransientError: the token cannot be read, or the API server failed.
            TerminalError: the Receiver uses a type or a field that is not served yet, or an
                expression that can never work.
        """
        started_s = self._context.clock.monotonic()
        obj = self._context.receivers.get(ref.namespace, ref.name)
        if obj is None:
            return Result()
        try:
            return await self._reconcile(obj, started_s)
        except errors.ApiError as err:
            raise errors.to_leaf(err, meta.FAILED) from err

    async def _reconcile(self, obj: Receiver, started_s: float) -> Result:
        if obj.metadata.deletion_timestamp:
            await steps.remove_finalizer(self._context, self._kind, obj)
            return Result()
        obj = await steps.add_finalizer(self._context, self._kind, obj)
        if obj.spec.suspend:
            await steps.finish(self._context, self._kind, obj, obj.status, started_s=started_s)
            return Result()
        try:
            path = await self._path(obj)
        except GitOpsError as err:
            await self._fail(obj, err, started_s)
            raise
        await self._succeed(obj, path, started_s)
        return Result(durations.parse_or(obj.spec.interval, 0.0) or None)

    async def _path(self, obj: Receiver) -> str:
        """Return the path of the webhook.

        Raises:
            GitOpsError: the Receiver can have none.
        """
        if paths := served.unserved(obj):
            raise TerminalError(meta.NOT_SERVED, served.message(paths))
        filters.check(obj)
        token = await read_token(self._context, obj, obj.ref(self._context.name))
        return webhook_path(token, obj.metadata.name, obj.metadata.namespace)

    async def _succeed(self, obj: Receiver, path: str, started_s: float) -> None:
        """Write the path; tell it once, not at each interval."""
        text = f"Receiver initialized for path: {path}"
        found = conditions.remove(obj.status.conditions, meta.RECONCILING, meta.STALLED)
        found = self._set(obj, found, meta.READY, "True", meta.SUCCEEDED, text)
        status = msgspec.structs.replace(
            obj.status,
            conditions=found,
            webhook_path=path,
            observed_generation=obj.metadata.generation,
        )
        told = f"Reconciliation finished, next run in {obj.spec.interval}"
        notices = [steps.notice(meta.SUCCEEDED, told)] if found != obj.status.conditions else []
        await self._finish(obj, status, started_s, notices)

    async def _fail(self, obj: Receiver, err: GitOpsError, started_s: float) -> None:
        """Write why there is no path, and take the old one back."""
        generation = obj.metadata.generation
        found = self._set(obj, obj.status.conditions, meta.READY, "False", err.reason, err.message)
        if isinstance(err, TerminalError):
            found = self._set(obj, found, meta.STALLED, "True", err.reason, err.message)
        else:
            retry = meta.PROGRESSING_WITH_RETRY
            found = self._set(obj, found, meta.RECONCILING, "True", retry, err.message)
            generation = obj.status.observed_generation
        status = msgspec.structs.replace(
            obj.status, conditions=found, webhook_path="", observed_generation=generation
        )
        is_news = found != obj.status.conditions
        notices = [steps.notice(meta.FAILED, err.message, severity="error")] if is_news else []
        await self._finish(obj, status, started_s, notices)

    def _set(
        self,
        obj: Receiver,
        found: conditions.Conditions,
        type_: str,
        status: conditions.Status,
        reason: str,
        message: str,
    ) -> conditions.Conditions:
        return conditions.set_(
            found,
            type_,
            status,
            reason,
            message,
            generation=obj.metadata.generation,
            now=self._context.clock.now(),
        )

    async def _finish(
        self, obj: Receiver, status: ReceiverStatus, started_s: float, notices: list[steps.Notice]
    ) -> None:
        await steps.finish(
            self._context, self._kind, obj, status, started_s=started_s, notices=notices
        )


class Endpoint:
    """A Receiver as an incoming call finds it.

    Args:
        context: the cluster of the Receiver.
        receiver: as last read.
    """

    def __init__(self, context: ClusterContext, receiver: Receiver) -> None:
        self._context = context
        self.receiver = receiver

    async def token(self) -> bytes:
        """Return the shared secret.

        Raises:
            TransientError: it cannot be read.
        """
        return await read_token(self._context, self.receiver)

    async def request(self, call: filters.Call) -> int:
        """Ask every resource that a call reaches to reconcile; return how many could not be."""
        return await requests.request_all(self._context, self.receiver, call)
