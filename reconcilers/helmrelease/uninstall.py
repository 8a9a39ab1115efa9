"""Uninstalls a release: hooks before, objects, waits, hooks after, records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kube import inventory
from kube.helm import record
from kube.helm.record import RecordError
from reconcilers.helmrelease import applying, hooks, records, waiting
from reconcilers.helmrelease import terms as all_terms
from reconcilers.kustomization.health import HealthError

if TYPE_CHECKING:
    from kube.helm.record import Record
    from kube.inventory import Entries
    from reconcilers.helmrelease.decision import Action
    from reconcilers.helmrelease.work import Ground

ACTIONS = {"uninstall": "uninstall-remediation"}


async def uninstall(ground: Ground, action: Action | None = None) -> bool:
    """Uninstall a release.

    The objects of every record go, as well as what the inventory names: what a failed operation
    left is among them. An operation that is under way holds nothing up, since it is ours.

    Args:
        ground: whose release.
        action: what the history calls it, where the HelmRelease goes on.

    Returns:
        Whether there was anything to uninstall.

    Raises:
        Exception: one of `release.FAILURES`; what is left is uninstalled by the next call.
    """
    await ground.read()
    last = ground.last
    if last is None or last.status == record.UNINSTALLED:
        return False
    terms, attempt = all_terms.of_uninstall(ground.spec), ground.attempt
    rules = waiting.HookRules(ground.rules)
    setting = hooks.Setting(attempt, ground.owner, terms.timeout_s, _no_news, rules)
    last = records.uninstalling(last, attempt.context.clock.now())
    await ground.storage.update(last)
    if terms.has_hooks:
        ground.log("running pre-delete hooks")
        last = await hooks.run(setting, last, "pre-delete")
    await _remove_objects(ground, last)
    if terms.has_hooks:
        ground.log("running post-delete hooks")
        last = await hooks.run(setting, last, "post-delete")
    await _close(ground, records.uninstalled(last), action)
    return True


async def _remove_objects(ground: Ground, last: Record) -> None:
    attempt, spec = ground.attempt, ground.spec
    terms = all_terms.of_uninstall(spec)
    propagation = spec.uninstall.deletion_propagation if spec.uninstall else "background"
    doomed = await _owned(ground, last)
    ground.log(f"deleting {len(doomed)} object(s)")
    gone = applying.gone(await applying.remove(attempt, doomed, ground.owner, propagation))
    attempt.target.tracker.set_inventory(attempt.ref, ())
    if terms.waits:
        left = await waiting.gone(attempt, gone, terms.timeout_s)
        if left:
            named = ", ".join(map(str, left))
            raise HealthError(f"timeout waiting for deletion of: [{named}]")


async def _owned(ground: Ground, last: Record) -> Entries:
    """Return everything that the release owns."""
    former = await _former(ground)
    found = applying.entries_of(ground.attempt.item)
    for each in (former, last):
        if each is not None:
            bundle = await applying.bundle_of(ground.attempt, each)
            found = inventory.union(found, bundle.entries)
    return found


async def _former(ground: Ground) -> Record | None:
    """Return the revision that a failed one was to take the place of."""
    try:
        return await ground.in_force()
    except RecordError:
        return None


async def _close(ground: Ground, last: Record, action: Action | None) -> None:
    """Keep the history or purge it, and say in the status what was done."""
    attempt, found = ground.attempt, ground.spec.uninstall
    if found is not None and found.keep_history:
        await ground.storage.update(last)
        ground.last = last
    else:
        for head in await ground.storage.heads(ground.name):
            await ground.storage.delete(ground.name, head.version)
        ground.last = None
    ground.applied = None
    applying.settle(attempt, [], [])
    newest = ground.newest
    if newest is not None and action is not None:
        made = await attempt.context.threads.run(
            records.snapshot, last, action=ACTIONS[action.value], oci_digest=newest.oci_digest
        )
        made = msgspec.structs.replace(made, test_hooks=newest.test_hooks)
        attempt.change(history=(made, *attempt.status.history[1:]))


def _no_news() -> None:
    return None
