"""What happens to a release when its HelmRelease is deleted, or comes to mean another one.

As in Flux the release stays where the HelmRelease is suspended, and where whoever could uninstall
it is gone. Otherwise the finalizer goes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from kube import errors, references
from kube.health_rules import KSTATUS
from kube.helm.storage import ReleaseStorage
from reconcilers import steps, targets
from reconcilers.helmrelease import chartobject, names, uninstall, words
from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease.program import Place
from reconcilers.helmrelease.release import FAILURES, reason_of
from reconcilers.helmrelease.work import Ground
from runtime import conditions
from runtime.errors import GitOpsError, TransientError

if TYPE_CHECKING:
    from reconcilers.helmrelease.attempt import Attempt


async def finalise(attempt: Attempt) -> None:
    """Uninstall the release unless it is to stay, then take the finalizer away.

    Raises:
        TransientError: it could not be uninstalled, or its cluster not be reached; retried with
            back-off.
        Conflict: the HelmRelease changed meanwhile.
    """
    if not attempt.item.spec.suspend:
        if attempt.status.storage_namespace and await _may_uninstall(attempt):
            await _open(attempt)
            await remove(attempt)
        await chartobject.delete(attempt)
    attempt.publish()
    await steps.remove_finalizer(attempt.context, attempt.kind, attempt.written)


async def _open(attempt: Attempt) -> None:
    """Find the release's cluster; say so where it is out of reach, since a deletion then hangs.

    Raises:
        GitOpsError: it is.
    """
    try:
        attempt.opened = await targets.find(attempt.context, attempt.item)
    except GitOpsError as err:
        text = f"the release cannot be uninstalled: {err.message}"
        attempt.condition(meta.READY, "False", words.UNINSTALL_FAILED, text)
        if conditions.get(attempt.before.conditions, meta.READY) != conditions.get(
            attempt.status.conditions, meta.READY
        ):
            attempt.notice(words.UNINSTALL_FAILED, text, severity="error")
        await attempt.finish()
        raise


async def _may_uninstall(attempt: Attempt) -> bool:
    """Whether the account that could uninstall, and the way to its cluster, are still there."""
    context, item = attempt.context, attempt.item
    where, namespace = item.spec.kube_config, item.metadata.namespace
    found = {
        references.SECRET: where.secret_ref if where else None,
        references.CONFIG_MAP: where.config_map_ref if where else None,
    }
    for kind, reference in found.items():
        if reference is None:
            continue
        try:
            await context.client.metadata(references.RESOURCES[kind], namespace, reference.name)
        except errors.NotFound:
            return False
    return await targets.may_act(context, item)


def ground_of(attempt: Attempt) -> Ground:
    """Return where the release is that the history tells of."""
    item, newest = attempt.item, histories.latest(attempt.status.history)
    name = newest.name if newest else names.release_name(item)
    namespace = newest.namespace if newest else names.release_namespace(item)
    client = attempt.target.client
    storage_namespace = attempt.status.storage_namespace or names.storage_namespace(item)
    storage = storage_of(attempt, storage_namespace)
    place = Place(client, namespace, storage_namespace)
    return Ground(attempt, place, storage, KSTATUS, _no_news, name)


def storage_of(attempt: Attempt, namespace: str) -> ReleaseStorage:
    """Return the records of a namespace."""
    context = attempt.context
    return ReleaseStorage(attempt.target.client, namespace, context.clock, context.threads)


async def remove(attempt: Attempt) -> None:
    """Uninstall the release that the history tells of, and say how it went.

    Raises:
        TransientError: it could not be uninstalled.
    """
    ground = ground_of(attempt)
    newest = ground.newest
    try:
        was_there = await uninstall.uninstall(ground)
    except FAILURES as err:
        text = f"failed to uninstall release {ground.name}: {reason_of(err)}"
        if newest is not None:
            text = words.uninstall_failed(newest, reason_of(err))
        for type_ in (meta.RELEASED, meta.READY):
            attempt.condition(type_, "False", words.UNINSTALL_FAILED, text)
        attempt.notice(words.UNINSTALL_FAILED, ground.with_log(text), severity="error")
        await attempt.finish()
        raise TransientError(words.UNINSTALL_FAILED, text) from err
    attempt.change(storage_namespace="", inventory=None)
    if newest is not None:
        text = words.uninstalled(newest) if was_there else words.not_found(newest)
        attempt.notice(words.UNINSTALL_SUCCEEDED, text)
        attempt.condition(meta.RELEASED, "False", words.UNINSTALL_SUCCEEDED, text)


def _no_news() -> None:
    return None
