"""The one exit of every reconcile: status patch, events, metric; and the finalizer's two patches.

A reconciler decides what the new status is and calls `finish`. What goes over the wire is the
smallest merge patch between the status it read and the one it wants, so a run that changed nothing
writes nothing. The API server's answer is fed back to the informer at once: the next reconcile sees
its own writes without waiting for the watch.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from api import meta
from kube import client as kube_client
from kube import errors
from runtime import conditions, events, mergepatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kube.informer import Informer
    from kube.objects import GVK
    from reconcilers.context import ClusterContext


logger = logging.getLogger(__name__)


class Reconciled(Protocol):
    """An object that a reconciler of ours owns the status of."""

    @property
    def metadata(self) -> meta.ObjectMeta:
        """Its metadata."""
        ...

    @property
    def status(self) -> object:
        """Its typed status."""
        ...


T = TypeVar("T", bound=Reconciled)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How one reconciled kind is read and written."""

    gvk: GVK
    informer: Informer[T]
    manager: str
    """Field manager of status, finalizers and annotations, as in Flux."""
    reporter: str
    """The controller name that events carry, as in Flux."""


@dataclass(frozen=True, slots=True)
class Notice:
    """An event about the reconciled object, before it is addressed."""

    message: str
    reason: str
    severity: events.Severity = "info"
    """``info`` or ``error``."""
    metadata: tuple[tuple[str, str], ...] = ()
    is_trace: bool = False
    """Only a Kubernetes Event, never a notification."""
    is_quiet: bool = False
    """Only a notification, never a Kubernetes Event."""


def notice(reason: str, message: str, *, severity: str = "info", **metadata: str) -> Notice:
    """Return a `Notice`; keyword arguments beyond the severity become its metadata."""
    return Notice(
        message, reason, "error" if severity == "error" else "info", tuple(metadata.items())
    )


def ref_of(context: ClusterContext, kind: Kind[T], obj: T) -> meta.ObjectRef:
    """Return the work-queue key of an object."""
    return meta.ObjectRef(context.name, kind.gvk.kind, obj.metadata.namespace, obj.metadata.name)


def publish(context: ClusterContext, kind: Kind[T], obj: T, notices: Iterable[Notice]) -> None:
    """Put events about ``obj`` on the bus, with the metadata its annotations ask for."""
    own = {
        key.removeprefix(meta.EVENT_PREFIX): value
        for key, value in obj.metadata.annotations.items()
        if key.startswith(meta.EVENT_PREFIX)
    }
    for each in notices:
        context.events.publish(
            events.Event(
                involved=ref_of(context, kind, obj),
                api_version=kind.gvk.api_version,
                uid=obj.metadata.uid,
                resource_version=obj.metadata.resource_version,
                severity=each.severity,
                reason=each.reason,
                message=each.message,
                metadata={**own, **dict(each.metadata)},
                timestamp=context.clock.now(),
                reporter=kind.reporter,
                is_trace=each.is_trace,
                is_quiet=each.is_quiet,
            )
        )


def status_patch(old: object, new: object) -> dict[str, Any]:
    """Return the smallest merge patch from one status to another; empty where they are equal."""
    return dict(mergepatch.merge_patch(_mapping(old), _mapping(new)))


def _mapping(status: object) -> Mapping[str, Any]:
    plain = msgspec.to_builtins(status)
    return plain if isinstance(plain, dict) else {}


async def patch_status(context: ClusterContext, kind: Kind[T], obj: T, status: object) -> T:
    """Write what differs between ``obj.status`` and ``status``; no request where nothing does.

    Args:
        context: the cluster.
        kind: how the kind is written.
        obj: the object as last read; its status is what the patch is computed against.
        status: the whole new status, a status struct or a JSON mapping: what it lacks is removed.

    Returns:
        The object as the API server now has it, or ``obj`` where nothing was written or it is gone.

    Raises:
        errors.ApiError: the API server refused the patch.
    """
    patch = status_patch(obj.status, status)
    if not patch:
        return obj
    return await _patch(context, kind, obj, {"status": patch}, subresource="status")


async def finish(
    context: ClusterContext,
    kind: Kind[T],
    obj: T,
    status: object,
    *,
    started_s: float,
    notices: Iterable[Notice] = (),
) -> T:
    """End a reconcile: status, ``lastHandledReconcileAt``, events and duration metric.

    Args:
        context: the cluster.
        kind: how the kind is written.
        obj: the object as last read or returned by `patch_status`.
        status: the whole new status, as for `patch_status`.
        started_s: monotonic seconds when the reconcile began.
        notices: events to publish, in order, whether or not the patch succeeds.

    Returns:
        The object as the API server now has it.

    Raises:
        errors.ApiError: the API server refused the patch.
    """
    publish(context, kind, obj, notices)
    observe_duration(context, kind, obj, started_s)
    written = await patch_status(context, kind, obj, handled(obj, status))
    if written is obj:
        logger.debug("status is as it was")
    else:
        logger.info("status written", extra=_told(written.status))
    return written


def _told(status: object) -> dict[str, str]:
    """Return what a status says, for the log."""
    ready = conditions.get(getattr(status, "conditions", ()), meta.READY)
    return {"ready": ready.status, "reason": ready.reason, "said": ready.message} if ready else {}


def handled(obj: Reconciled, status: object) -> Mapping[str, Any]:
    """Return ``status`` with ``lastHandledReconcileAt`` copied from the request annotation."""
    requested = obj.metadata.annotations.get(meta.REQUESTED_AT)
    plain = _mapping(status)
    return {**plain, "lastHandledReconcileAt": requested} if requested else plain


def observe_duration(context: ClusterContext, kind: Kind[T], obj: T, started_s: float) -> None:
    """Record ``gotk_reconcile_duration_seconds``."""
    elapsed_s = context.clock.monotonic() - started_s
    context.metrics.observe_reconcile(ref_of(context, kind, obj), elapsed_s)


async def add_finalizer(
    context: ClusterContext, kind: Kind[T], obj: T, finalizer: str = meta.FINALIZER
) -> T:
    """Add our finalizer unless it is there or the object is being deleted.

    The patch carries the resourceVersion that was read, so an object deleted in between can never
    be given a finalizer that nobody would take away again.

    Raises:
        errors.Conflict: the object changed since it was read; reconcile again.
    """
    present = obj.metadata.finalizers
    if finalizer in present or obj.metadata.deletion_timestamp:
        return obj
    return await _patch_finalizers(context, kind, obj, [*present, finalizer])


async def remove_finalizer(
    context: ClusterContext, kind: Kind[T], obj: T, finalizer: str = meta.FINALIZER
) -> T:
    """Take our finalizer away; an object that is gone already is fine.

    What comes before this is not to be done twice because a label changed meanwhile: an object that
    is another one than was read is read again.

    Raises:
        errors.Conflict: the object changes all the time; reconcile again.
    """
    try:
        return await _without_finalizer(context, kind, obj, finalizer)
    except errors.Conflict:
        current = await _read(context, kind, obj)
        return await _without_finalizer(context, kind, current, finalizer) if current else obj


async def _without_finalizer(context: ClusterContext, kind: Kind[T], obj: T, finalizer: str) -> T:
    present = obj.metadata.finalizers
    if finalizer not in present:
        return obj
    return await _patch_finalizers(
        context, kind, obj, [name for name in present if name != finalizer]
    )


async def _read(context: ClusterContext, kind: Kind[T], obj: T) -> T | None:
    """Return an object as it is now; None where it is gone or was made anew."""
    resource = await context.discovery.resource(kind.gvk)
    path = resource.path(obj.metadata.namespace, obj.metadata.name)
    try:
        current = kind.informer.observe(await context.client.get_raw(path))
    except errors.NotFound:
        return None
    return current if current.metadata.uid == obj.metadata.uid else None


async def _patch_finalizers(context: ClusterContext, kind: Kind[T], obj: T, names: list[str]) -> T:
    change = {"finalizers": names or None, "resourceVersion": obj.metadata.resource_version}
    return await _patch(context, kind, obj, {"metadata": change})


async def _patch(
    context: ClusterContext,
    kind: Kind[T],
    obj: T,
    body: Mapping[str, Any],
    *,
    subresource: str = "",
) -> T:
    resource = await context.discovery.resource(kind.gvk)
    try:
        raw = await context.client.patch(
            resource,
            obj.metadata.namespace,
            obj.metadata.name,
            msgspec.json.encode(body),
            content_type=kube_client.MERGE,
            manager=kind.manager,
            subresource=subresource,
        )
    except errors.NotFound:
        return obj
    return kind.informer.observe(raw)
