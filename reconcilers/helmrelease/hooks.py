"""Runs the hooks of one event: in weight order, each waited for, deleted as its policies say.

A hook is no part of the release: it is in no inventory, nobody watches over it, and what an earlier
run left of it goes first unless its policies say otherwise.

::

    HookError    a hook failed, or did not end in time; the message ends with its pod's last lines
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from kube import errors, normalise
from kube.helm.record import Execution
from kube.objects import GVK, ObjectId
from reconcilers.helmrelease import applying, bundle, logs, objects, records, waiting
from reconcilers.kustomization.health import Checked, HealthError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kube.helm.record import Hook, Record
    from kube.objects import JsonObject, Resource
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.bundle import Owner
    from reconcilers.helmrelease.waiting import HookRules

BEFORE_CREATION: Final = "before-hook-creation"
ON_SUCCESS: Final = "hook-succeeded"
ON_FAILURE: Final = "hook-failed"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
_APPLIED: Final = frozenset({"pre-delete", "post-delete"})
"""Events whose hooks Helm always applies on the server."""


class HookError(Exception):
    """A hook failed.

    Args:
        message: names the hook.
        record: the record, with how its hooks went.
    """

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


@dataclass(frozen=True, slots=True)
class Setting:
    """What the hooks of one release are run with."""

    attempt: Attempt
    owner: Owner
    timeout_s: float
    """How long each may take."""
    find_news: Callable[[], str | None]
    """Names what is newer than this run, if anything is."""
    rules: HookRules
    """Who judges whether a hook is done."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A hook with its object."""

    hook: Hook
    obj: JsonObject
    id: ObjectId
    resource: Resource


def of(record: Record, event: str) -> list[Hook]:
    """Return the hooks of an event in the order in which they run."""
    found = [hook for hook in record.hooks if event in (hook.events or ())]
    return sorted(found, key=lambda hook: (hook.weight, hook.name))


async def run(
    setting: Setting, record: Record, event: str, chosen: Iterable[Hook] | None = None
) -> Record:
    """Run the hooks of an event.

    Args:
        setting: where, and for how long.
        record: whose hooks.
        event: ``pre-install``, ``test`` and so on.
        chosen: the hooks, where not all of the event; in this order.

    Returns:
        The record with how its hooks went.

    Raises:
        HookError: one failed; those after it did not run.
        ManifestError: one is no object.
        errors.ApiError: the API server did not say how a kind is served.
    """
    done: list[_Made] = []
    is_merged = record.is_client_side and event not in _APPLIED
    for hook in of(record, event) if chosen is None else chosen:
        made = await _make(setting, hook)
        started = _now(setting)
        try:
            await _execute(setting, made, creates=is_merged)
        except (HealthError, errors.ApiError) as err:
            record = _noted(
                record,
                hook,
                Execution(started_at=started, completed_at=_now(setting), phase=FAILED),
            )
            text = await _explain(setting, made, event, err)
            await _delete(setting, [made], ON_FAILURE)
            await _delete(setting, reversed(done), ON_SUCCESS)
            raise HookError(text, record) from err
        record = _noted(
            record, hook, Execution(started_at=started, completed_at=_now(setting), phase=SUCCEEDED)
        )
        done.append(made)
    await _delete(setting, reversed(done), ON_SUCCESS)
    return record


async def _make(setting: Setting, hook: Hook) -> _Made:
    """Find out what object a hook is."""
    discovery = setting.attempt.target.discovery
    obj = objects.of_hook(hook)
    resource = await discovery.resource(GVK.of(obj))
    await bundle.place(obj, setting.owner.namespace, discovery)
    return _Made(hook, obj, ObjectId.of(obj), resource)


async def _execute(setting: Setting, made: _Made, *, creates: bool) -> None:
    """Create the object of a hook and wait until it is done.

    Args:
        setting: where, and for how long.
        made: the hook.
        creates: refuse one that is there, as Helm does without server-side apply.

    Raises:
        HealthError: it failed, or is late.
        errors.ApiError: the API server refused it.
    """
    if BEFORE_CREATION in _policies(made):
        await _remove(setting, made)
    attempt, at = setting.attempt, made.id
    version, expires = GVK.of(made.obj).version, _expires(made.obj)
    body = normalise.prepare(made.obj, owner_labels=setting.owner.labels)
    client = attempt.target.client.managing()
    if creates:
        await client.create(made.resource, at.namespace, body, manager=meta.HELM_MANAGER)
    else:
        await client.apply(made.resource, body, at.namespace, at.name, manager=meta.HELM_MANAGER)
    checked = Checked(at, version, expires)
    await waiting.healthy(attempt, [checked], setting.rules, setting.timeout_s, setting.find_news)


async def _remove(setting: Setting, made: _Made) -> None:
    """Delete a hook's object and wait until it is gone.

    Raises:
        HealthError: it stays.
        errors.ApiError: the API server refused.
    """
    try:
        client = setting.attempt.target.client.managing()
        await client.delete(made.resource, made.id.namespace, made.id.name)
    except errors.NotFound:
        return
    version = GVK.of(made.obj).version
    left = await waiting.gone(setting.attempt, [(made.id, version)], setting.timeout_s)
    if left:
        raise HealthError(f"{made.id} is still being deleted")


async def _delete(setting: Setting, hooks: Iterable[_Made], policy: str) -> None:
    """Delete the hooks whose policies ask for it; what cannot go now goes before the next run."""
    for made in hooks:
        if policy not in _policies(made):
            continue
        try:
            await _remove(setting, made)
        except (HealthError, errors.ApiError) as err:
            text = f"hook {made.id} is not deleted: {err}"
            setting.attempt.notice(meta.PROGRESSING, text, severity="error")


async def _explain(setting: Setting, made: _Made, event: str, err: Exception) -> str:
    lines = await logs.tail(setting.attempt.target.client, made.id)
    text = f"failed {event}: hook {made.id}: {err}"
    return f"{text}\n\nLast lines of its log:\n\n{lines}" if lines else text


def _policies(made: _Made) -> tuple[str, ...]:
    """Return when a hook is deleted; a definition never is, since all that it defines would go."""
    if applying.is_definition(made.id):
        return ()
    return made.hook.delete_policies or (BEFORE_CREATION,)


def _expires(obj: JsonObject) -> bool:
    spec = obj.get("spec")
    return isinstance(spec, dict) and spec.get("ttlSecondsAfterFinished") is not None


def _noted(record: Record, hook: Hook, execution: Execution) -> Record:
    """Return a record that says how one of its hooks went.

    Those of an account, its rights and its Job often share one name, so that the manifest tells.
    """
    hooks = tuple(
        msgspec.structs.replace(each, last_run=execution)
        if each.manifest == hook.manifest
        else each
        for each in record.hooks
    )
    return record.changed(hooks=hooks)


def _now(setting: Setting) -> str:
    return records.stamp(setting.attempt.context.clock.now())
