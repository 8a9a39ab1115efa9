"""Undoes what failed: goes back to the last good revision, or uninstalls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace as _replace

from api import meta
from kube.helm import digest
from kube.helm.record import RecordError
from reconcilers.helmrelease import applying, policy, records, release, uninstall, words
from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease import terms as all_terms
from reconcilers.helmrelease.decision import Action
from reconcilers.helmrelease.release import FAILURES, NothingRecorded
from reconcilers.kustomization.health import CancelledByNews
from runtime.errors import SupersededError

if TYPE_CHECKING:
    from api.helm import Snapshot
    from kube.helm.record import Record
    from reconcilers.helmrelease.work import Ground, Work


async def is_intact(ground: Ground, snapshot: Snapshot) -> bool:
    """Tell whether storage still has a revision as the history tells of it.

    Raises:
        ApiError: the API server refused, or did not answer.
    """
    try:
        found = await ground.storage.get(ground.name, snapshot.version)
    except RecordError:
        return False
    if found is None or found.namespace != snapshot.namespace:
        return False
    if snapshot.api_version != records.API_VERSION:
        return True
    threads = ground.attempt.context.threads
    return await threads.run(digest.of_record, found, snapshot.oci_digest) == snapshot.digest


def rollback_target(ground: Ground) -> Snapshot | None:
    """Return the revision that a failed upgrade goes back to."""
    item = ground.attempt.item
    ignores = policy.ignores_test_failures(item.spec, item.status)
    return histories.previous(item.status.history, ignores_tests=ignores)


async def roll_back(work: Work) -> None:
    """Go back to the last good revision, as a new one; say how it went.

    Raises:
        NothingRecorded: it failed before it left a record.
        SupersededError: something newer is to be released.
    """
    attempt, snapshot = work.attempt, rollback_target(work)
    if snapshot is None:
        raise AssertionError("there is a target where a rollback was decided upon")
    revision = None
    try:
        revision = await _prepare(work, snapshot)
        superseded = await revision.realise(f"Rollback to {snapshot.version}")
    except CancelledByNews as err:
        await _note(work, snapshot)
        text = f"New reconciliation triggered by {err}"
        raise SupersededError(meta.HEALTH_CHECK_CANCELED, text) from err
    except FAILURES as err:
        text = words.rolled_back(snapshot, release.reason_of(err))
        attempt.condition(meta.REMEDIATED, "False", words.ROLLBACK_FAILED, text)
        attempt.notice(words.ROLLBACK_FAILED, work.with_log(text), severity="error")
        attempt.count_failure("")
        if revision is None:
            attempt.summarise()
            raise NothingRecorded(text) from err
        await _note(work, snapshot)
    else:
        await _note(work, snapshot, superseded)
        text = words.rolled_back(snapshot)
        attempt.condition(meta.REMEDIATED, "True", words.ROLLBACK_SUCCEEDED, text)
        attempt.notice(words.ROLLBACK_SUCCEEDED, text)
    attempt.summarise()


async def _prepare(work: Work, snapshot: Snapshot) -> release.Revision:
    terms = all_terms.of(work.spec, Action.ROLLBACK)
    target = await work.storage.get(work.name, snapshot.version)
    if target is None or work.last is None:
        raise RecordError(f"release {words.release_of(snapshot)} is not in storage")
    work.log(f"rolling back to {words.release_of(snapshot)}")
    now = work.attempt.context.clock.now()
    method = all_terms.apply_method(work.spec, Action.ROLLBACK, target)
    pending = records.rolled_back(target, work.last, apply_method=method, now=now)
    wanted = await applying.bundle_of(work.attempt, pending)
    former = await work.in_force()
    before = await release.owned(work, former)
    definitions = applying.definitions_of(work.attempt.item, wanted.entries)
    await applying.remember(work.attempt, before)
    await work.storage.create(pending, max_history=policy.max_history(work.spec))
    verb, base = Action.ROLLBACK.value, work.last
    return release.Revision(work, terms, pending, wanted, former, base, before, definitions, verb)


async def _note(work: Work, target: Snapshot, superseded: Record | None = None) -> None:
    """Put what was written into the history; the tests of the revision that is back count on."""
    if work.last is None:
        raise AssertionError("a rollback has a newest record")
    attempt = work.attempt
    known = {each.version: each.action for each in attempt.status.history}
    await release.note(attempt, work.last, Action.ROLLBACK.value, target.oci_digest, superseded)
    newest, *others = attempt.status.history
    kept = [_replace(each, action=known.get(each.version, "")) for each in others]
    attempt.change(history=(_replace(newest, test_hooks=target.test_hooks), *kept))


async def undo(work: Ground) -> None:
    """Uninstall what failed; say how it went.

    Raises:
        NothingRecorded: it failed before anything changed.
    """
    attempt, newest = work.attempt, work.newest
    if newest is None:
        raise AssertionError("what failed is in the history")
    try:
        await uninstall.uninstall(work, Action.UNINSTALL)
    except FAILURES as err:
        text = words.undone(newest, release.reason_of(err))
        attempt.condition(meta.REMEDIATED, "False", words.UNINSTALL_FAILED, text)
        attempt.notice(words.UNINSTALL_FAILED, work.with_log(text), severity="error")
        attempt.count_failure("")
        attempt.summarise()
        raise NothingRecorded(text) from err
    text = words.undone(newest)
    attempt.condition(meta.REMEDIATED, "True", words.UNINSTALL_SUCCEEDED, text)
    attempt.notice(words.UNINSTALL_SUCCEEDED, text)
    attempt.summarise()
