"""One run over one HelmRelease: what it wants to say, and what it has said so far.

Actions change `Attempt.item` in memory, status included, so that every step decides on what the
step before left. As in Flux the server is told before each action and at the end; a run without an
action writes once, and only what is new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from api.helm import HelmRelease, HelmReleaseStatus
from reconcilers import attempt, steps
from reconcilers.helmrelease import policy, words

if TYPE_CHECKING:
    from reconcilers.context import ClusterContext
    from reconcilers.helmrelease.decision import Action
    from reconcilers.steps import Kind
    from runtime.conditions import Conditions, Status
    from runtime.controller import Run

_PREFIX: Final = meta.HELM_GROUP
_SUMMARISED: Final = (meta.REMEDIATED, meta.TEST_SUCCESS, meta.RELEASED)


class Attempt(attempt.Attempt[HelmRelease, HelmReleaseStatus]):
    """One run.

    Args:
        context: the cluster.
        kind: how HelmReleases are written.
        item: the HelmRelease as last read.
        run: the queue's view of the run.
    """

    def __init__(
        self, context: ClusterContext, kind: Kind[HelmRelease], item: HelmRelease, run: Run
    ) -> None:
        super().__init__(context, kind, item, item.status, run)
        self.is_force_pending = is_asked(item, meta.FORCE_AT, item.status.last_handled_force_at)
        """Whether an install or upgrade is asked for in any case, and none was made yet."""

    @property
    def item(self) -> HelmRelease:
        """The HelmRelease as it was read, with the status that is wanted."""
        return msgspec.structs.replace(self._read, status=self.status)

    @property
    def is_reset(self) -> bool:
        """Whether somebody asks to forget failures."""
        return is_asked(self._read, meta.RESET_AT, self.before.last_handled_reset_at)

    def begin(self, action: Action, timeout_s: float) -> None:
        """Say that an action begins; only a release leaves open whether all is well."""
        text = words.running(action, timeout_s)
        self.condition(meta.RECONCILING, "True", meta.PROGRESSING, text)
        if action.is_release:
            self.condition(meta.READY, "Unknown", meta.PROGRESSING, text)

    def count_failure(self, action: str) -> None:
        """Count a failure.

        Args:
            action: ``install`` or ``upgrade`` where it used up an attempt, empty where it did not.
        """
        status = self.status
        self.change(failures=status.failures + 1)
        if action == policy.INSTALL:
            self.change(install_failures=status.install_failures + 1)
        elif action == policy.UPGRADE:
            self.change(upgrade_failures=status.upgrade_failures + 1)

    def forgive(self) -> None:
        """Count failures anew."""
        self.change(failures=0, install_failures=0, upgrade_failures=0)

    def forgive_if_retrying(self) -> None:
        """Count failures anew after a success, where they are retried without end."""
        active = policy.active(self.item.spec, self.status)
        if active is not None and active.retry_s is not None:
            self.forgive()

    def summarise(self) -> None:
        """Let Ready be what the newest and weightiest of the other conditions says."""
        spec = self.item.spec
        if not policy.tests(spec):
            self.without(meta.TEST_SUCCESS)
        counts_tests = policy.tests(spec) and not (spec.test and spec.test.ignore_failures)
        order = [each for each in _SUMMARISED if each != meta.TEST_SUCCESS or counts_tests]
        found = decisive(self.status.conditions, order)
        if found is None:
            return
        is_ready = found.status == "True" and found.type != meta.REMEDIATED
        verdict: Status = "Unknown" if found.status == "Unknown" else "False"
        if is_ready:
            self.without(meta.STALLED)
        self.condition(meta.READY, "True" if is_ready else verdict, found.reason, found.message)

    def notice(self, reason: str, message: str, *, severity: str = "info") -> None:
        """Add an event, with what is being released among its metadata."""
        self.notices.append(steps.notice(reason, message, severity=severity, **self.metadata()))

    def metadata(self) -> dict[str, str]:
        """Return the metadata of every event about a release."""
        status = self.status
        newest = status.history[0] if status.history else None
        found = {
            "revision": status.last_attempted_revision,
            "token": status.last_attempted_config_digest,
            "app-version": newest.app_version if newest else "",
            "oci-digest": status.last_attempted_revision_digest,
        }
        return {f"{_PREFIX}/{key}": value for key, value in found.items() if value}

    async def write(self) -> None:
        """Write the wanted status now."""
        await self._patch(self.status)

    async def finish(self) -> None:
        """Write the wanted status, requests handled, and publish the events."""
        own = self._read.metadata.annotations
        handled = {
            "last_handled_force_at": own.get(meta.FORCE_AT),
            "last_handled_reset_at": own.get(meta.RESET_AT),
        }
        self.change(**{name: value for name, value in handled.items() if value})
        await self._finish()


def is_asked(item: HelmRelease, annotation: str, handled: str) -> bool:
    """Whether a request comes with the last request to reconcile and has not been handled."""
    own = item.metadata.annotations
    token = own.get(annotation)
    return bool(token) and token == own.get(meta.REQUESTED_AT) and token != handled


def decisive(state: Conditions, order: list[str]) -> meta.Condition | None:
    """Return the condition that Ready is taken from: the newest, then the first of the order."""
    found = [each for each in state if each.type in order]
    return min(
        found, key=lambda each: (-each.observed_generation, order.index(each.type)), default=None
    )
