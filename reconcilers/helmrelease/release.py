"""Installs and upgrades a release: definitions, render, pending record, apply, hooks, final record.

Nothing of a revision is applied before its record names it, so that a daemon that is killed in the
middle leaves a record from which the next one finds everything again.

::

    NothingRecorded    the action failed before it left a record; it may simply be tried again
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from api import durations, meta
from kube import errors, inventory
from kube.apply import ApplyError
from kube.changes import Action as Change
from kube.helm import record
from kube.helm.record import RecordError
from kube.helm.storage import ReleaseTooLarge
from kube.objects import GVK, Resource
from reconcilers.helmrelease import (
    applying,
    clientside,
    hooks,
    objects,
    policy,
    preflight,
    records,
    render,
    waiting,
    words,
)
from reconcilers.helmrelease import chart as charts
from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease import terms as all_terms
from reconcilers.helmrelease.chart import ChartError
from reconcilers.helmrelease.decision import Action
from reconcilers.helmrelease.hooks import HookError
from reconcilers.helmrelease.preflight import InvalidError
from reconcilers.helmrelease.program import HelmError
from reconcilers.helmrelease.render import RenderError
from reconcilers.helmrelease.work import release_id
from reconcilers.kustomization.health import CancelledByNews, HealthError
from runtime.errors import GitOpsError, SupersededError
from runtime.process import ProcessError

if TYPE_CHECKING:
    from api.helm import Snapshot
    from kube.changes import ChangeSet
    from kube.helm.record import Record
    from kube.inventory import Entries
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.bundle import Bundle
    from reconcilers.helmrelease.terms import Terms
    from reconcilers.helmrelease.work import Ground, Work

FAILURES: Final = (
    errors.ApiError,
    GitOpsError,
    HealthError,
    HookError,
    HelmError,
    InvalidError,
    RenderError,
    ChartError,
    RecordError,
    ReleaseTooLarge,
    ProcessError,
    objects.ManifestError,
    OSError,
)
"""What an action may fail with; all of them are worded for users."""
_NAMESPACES: Final = Resource(GVK("", "v1", "Namespace"), "namespaces", is_namespaced=False)
_IN_USE: Final = "cannot reuse a name that is still in use"


class NothingRecorded(Exception):  # noqa: N818 - says what is wrong
    """The action failed before it left a record."""


@dataclass(slots=True)
class Revision:
    """A revision on its way from a pending record to a final one."""

    ground: Work
    terms: Terms
    record: Record
    """As it is in storage."""
    wanted: Bundle
    former: Record | None
    """The revision that it takes the place of."""
    base: Record | None
    """The revision whose manifest the live objects are thought to come from."""
    before: Entries
    """Everything that the release is known to own."""
    definitions: Entries
    """The chart's own."""
    verb: str
    """``install``, ``upgrade`` or ``rollback``, as in the names of hooks."""
    changes: list[ChangeSet] = field(default_factory=list)

    async def realise(self, done: str) -> Record | None:
        """Apply the revision, run its hooks, and write what became of it.

        Args:
            done: the description of success.

        Returns:
            The record that this one superseded, as it was written.

        Raises:
            Exception: one of `FAILURES`, once the record says that it failed.
            CancelledByNews: something newer is to be released; the record says so too.
        """
        try:
            await self._carry_out()
        except (*FAILURES, CancelledByNews) as err:
            if isinstance(err, HookError):
                self.record = err.record
            await self._give_up(err)
            raise
        superseded = await self._supersede()
        self.record = records.deployed(self.record, done)
        await self.ground.storage.update(self.record)
        self.ground.last, self.ground.applied = self.record, self.wanted
        return superseded

    async def _carry_out(self) -> None:
        attempt, terms = self.ground.attempt, self.terms
        await self._run_hooks("pre")
        self.ground.log(f"applying {len(self.wanted.desired)} object(s)")
        self.changes.append(await self._apply())
        await self._remove_stale()
        if terms.waits:
            self.ground.log(f"waiting for the objects with timeout of {terms.timeout_s:g}s")
            checked = waiting.checks(self.wanted, with_jobs=terms.waits_for_jobs)
            ground = self.ground
            await waiting.healthy(attempt, checked, ground.rules, terms.timeout_s, ground.find_news)
        await self._run_hooks("post")

    async def _apply(self) -> ChangeSet:
        if self.record.is_client_side:
            return await clientside.apply(self._merge(), self.before)
        attempt, base = self.ground.attempt, self.base
        is_migration = base is not None and base.is_client_side
        return await applying.apply(attempt, self.wanted, self.before, afresh=is_migration)

    def _merge(self) -> clientside.Merge:
        return clientside.Merge(
            work=self.ground,
            action=Action(self.verb),
            terms=self.terms,
            record=self.record,
            wanted=self.wanted,
            base=self.base,
        )

    async def validate(self) -> None:
        """Try the objects, before anything is written, as far as that is asked for.

        Raises:
            Exception: one of `FAILURES`.
        """
        if self.record.is_client_side:
            await clientside.check(self._merge())
        elif self.terms.validates:
            await preflight.check(self.ground.attempt, self.wanted)

    async def _run_hooks(self, moment: str) -> None:
        event, ground = f"{moment}-{self.verb}", self.ground
        if not self.terms.has_hooks or not hooks.of(self.record, event):
            return
        ground.log(f"running {event} hooks")
        rules = waiting.HookRules(ground.rules)
        setting = hooks.Setting(
            ground.attempt, ground.owner, self.terms.timeout_s, ground.find_news, rules
        )
        self.record = await hooks.run(setting, self.record, event)

    async def _remove_stale(self) -> None:
        """Delete what the release had and has no longer, and settle what it owns."""
        ground, wanted = self.ground, self.wanted.entries
        stale = applying.stale(self.before, wanted)
        if stale:
            ground.log(f"deleting {len(stale)} object(s) that the release has no longer")
            await applying.remove(ground.attempt, stale, ground.owner)
        applying.settle(ground.attempt, wanted, self.definitions)

    async def _supersede(self) -> Record | None:
        former = self.former
        if former is None or former.status != record.DEPLOYED:
            return None
        former = records.superseded(former)
        try:
            await self.ground.storage.update(former)
        except errors.NotFound:
            return None
        return former

    async def _give_up(self, err: Exception) -> None:
        """Let the record and the inventory say how far it went."""
        ground, attempt = self.ground, self.ground.attempt
        if isinstance(err, ApplyError):
            self.changes.append(err.changes)
        owned = inventory.union(self.before, self.wanted.entries)
        if self.terms.cleans_up:
            owned = await self._clean_up(owned)
        applying.settle(attempt, owned, self.definitions)
        kind = "Release" if self.verb == "install" else self.verb.capitalize()
        text = f'{kind} "{self.record.name}" failed: {reason_of(err)}'
        self.record = records.failed(self.record, text)
        await ground.storage.update(self.record)
        ground.last, ground.applied = self.record, self.wanted

    async def _clean_up(self, owned: Entries) -> Entries:
        """Delete what this revision created; return what is left."""
        created = {
            each.id for set_ in self.changes for each in set_ if each.action is Change.CREATED
        }
        doomed = [entry for entry in owned if entry[0] in created]
        self.ground.log(f"deleting {len(doomed)} object(s) that were created")
        gone = await applying.remove(self.ground.attempt, doomed, self.ground.owner)
        return inventory.without(owned, applying.gone(gone))


async def release(work: Work, action: Action) -> None:
    """Install or upgrade, and say how it went: history, conditions, counters, event.

    A failure that left a record is told by that and returns.

    Raises:
        NothingRecorded: it failed before.
        SupersededError: something newer is to be released, which the record tells too.
    """
    attempt, terms = work.attempt, all_terms.of(work.spec, action)
    attempt.without(meta.TEST_SUCCESS, meta.REMEDIATED)
    attempt.change(last_attempted_release_action=action.value)
    if action is Action.INSTALL:
        attempt.change(history=())
    started_s, revision = attempt.context.clock.monotonic(), None
    try:
        revision = await _prepare(work, action, terms)
        superseded = await revision.realise(f"{action.value.capitalize()} complete")
    except CancelledByNews as err:
        await _note(work, action)
        text = f"New reconciliation triggered by {err}"
        attempt.notice(meta.HEALTH_CHECK_CANCELED, text)
        raise SupersededError(meta.HEALTH_CHECK_CANCELED, text) from err
    except FAILURES as err:
        await _fail(work, action, err, is_recorded=revision is not None)
    else:
        await _succeed(work, action, superseded)
    finally:
        took_s = attempt.context.clock.monotonic() - started_s
        attempt.change(last_attempted_release_action_duration=durations.format_go(took_s))


async def _prepare(work: Work, action: Action, terms: Terms) -> Revision:
    """Do everything up to the pending record; of the cluster only definitions are touched."""
    attempt, is_upgrade = work.attempt, action is Action.UPGRADE
    if not is_upgrade and work.last is not None and not _may_replace(work.last, terms):
        raise HelmError(_IN_USE)
    method = all_terms.apply_method(work.spec, action, work.last)
    definitions = await _define(work, terms, method) if terms.applies_definitions else []
    work.log(f"rendering chart {work.chart.full_name}")
    rendered = await work.renderer.render(
        render.Request(
            item=attempt.item,
            chart=work.chart,
            values=work.values,
            name=work.name,
            place=work.place,
            is_upgrade=is_upgrade,
            timeout_s=terms.timeout_s,
        )
    )
    now = attempt.context.clock.now()
    pending = records.pending(
        rendered.record, work.last, is_upgrade=is_upgrade, apply_method=method, now=now
    )
    wanted = await applying.bundle_of(attempt, pending)
    former = await work.in_force()
    base = former if is_upgrade else None
    before = await owned(work, former)
    revision = Revision(
        work, terms, pending, wanted, former, base, before, definitions, action.value
    )
    if terms.creates_namespace:
        await _create_namespace(work)
    await revision.validate()
    await applying.remember(attempt, before)
    await work.storage.create(pending, max_history=policy.max_history(work.spec))
    return revision


def _may_replace(last: Record, terms: Terms) -> bool:
    return terms.replaces and last.status in {record.UNINSTALLED, record.FAILED}


async def _define(work: Work, terms: Terms, method: str) -> Entries:
    found = await work.attempt.context.threads.run(
        charts.definitions, work.chart, work.values.merged
    )
    if not found:
        return []
    work.log(f"applying {len(found)} definition(s)")
    if method == record.CLIENT_SIDE:
        replaces = terms.replaces_definitions
        return await clientside.define(work, found, replaces=replaces)
    return await applying.define(work.attempt, found, work.owner)


async def _create_namespace(work: Work) -> None:
    name = work.place.namespace
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"name": name}},
    }
    client = work.attempt.target.client.managing()
    try:
        await client.metadata(_NAMESPACES, "", name)
    except errors.NotFound:
        await client.create(_NAMESPACES, "", orjson.dumps(body), manager=meta.HELM_MANAGER)


async def owned(ground: Ground, former: Record | None) -> Entries:
    """Return everything that a release is known to own: by its inventory and its records.

    Raises:
        ManifestError: a manifest cannot be read.
        ApiError: the API server did not say how a kind is served.
    """
    found = applying.entries_of(ground.attempt.item)
    for each in {id(item): item for item in (former, ground.last) if item}.values():
        if each.status == record.UNINSTALLED:
            continue
        known = await applying.bundle_of(ground.attempt, each)
        found = inventory.union(found, known.entries)
    return found


def reason_of(err: Exception) -> str:
    """Return what an action failed with, for people."""
    return "\n".join(err.texts) if isinstance(err, ApplyError) else str(err)


async def _succeed(work: Work, action: Action, superseded: Record | None) -> None:
    attempt = work.attempt
    newest = await _note(work, action, superseded)
    reason = words.INSTALL_SUCCEEDED if action is Action.INSTALL else words.UPGRADE_SUCCEEDED
    text = words.succeeded(action.value, newest)
    attempt.condition(meta.RELEASED, "True", reason, text)
    if work.spec.test is not None and work.spec.test.enable:
        attempt.condition(
            meta.TEST_SUCCESS, "Unknown", words.AWAITING_TESTS, words.awaiting_tests(newest)
        )
    attempt.is_force_pending = False
    attempt.forgive_if_retrying()
    attempt.notice(reason, text)
    observe(work)
    attempt.summarise()


async def _fail(work: Work, action: Action, err: Exception, *, is_recorded: bool) -> None:
    attempt = work.attempt
    if is_recorded:
        await _note(work, action)
    reason = words.INSTALL_FAILED if action is Action.INSTALL else words.UPGRADE_FAILED
    text = words.failed(action.value, release_id(work), work.chart.full_name, reason_of(err))
    attempt.condition(meta.RELEASED, "False", reason, text)
    attempt.notice(reason, work.with_log(text), severity="error")
    attempt.count_failure(action.value if is_recorded else "")
    attempt.summarise()
    if not is_recorded:
        raise NothingRecorded(text) from err
    attempt.is_force_pending = False


def observe(work: Work) -> None:
    """Let the status tell by which changes of the templates the release was made."""
    work.attempt.change(
        observed_post_renderers_digest=work.wanted.post_renderers_digest,
        observed_common_metadata_digest=work.wanted.common_metadata_digest,
    )


async def _note(work: Work, action: Action, superseded: Record | None = None) -> Snapshot:
    """Put what was written into the history, and return the newest."""
    attempt = work.attempt
    if work.last is None:
        raise AssertionError("an action that left a record has a newest one")
    return await note(attempt, work.last, action.value, work.chart.oci_digest, superseded)


async def note(
    attempt: Attempt,
    newest: Record,
    action: str,
    oci_digest: str,
    superseded: Record | None = None,
) -> Snapshot:
    """Put records that were written into the history, and return the newest one's snapshot."""
    known = {each.version: each for each in attempt.status.history}
    threads = attempt.context.threads
    made = await threads.run(records.snapshot, newest, action=action, oci_digest=oci_digest)
    others = []
    if superseded is not None and superseded.version in known:
        of_old = known[superseded.version].oci_digest
        others = [await threads.run(records.snapshot, superseded, oci_digest=of_old)]
    attempt.change(history=histories.recorded(attempt.status.history, made, *others))
    return made
