"""One run over one Kustomization: what it wants to say, and what it has said so far.

The steps change `Attempt.status` in memory. The server learns of it in three ways: the inventory,
before an apply that adds objects; progress, when a step takes long enough for somebody to wonder
(`SLOW_S`); and everything, once, at the end. The inventory takes the progress of a first apply with
it. A quick run is one write, a run without news none.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api import durations, meta
from api.kustomize import Kustomization, KustomizationStatus
from reconcilers import attempt, steps
from reconcilers.kustomization import timing
from runtime import conditions

if TYPE_CHECKING:
    from api.meta import Inventory
    from reconcilers.context import ClusterContext
    from reconcilers.steps import Kind
    from runtime.controller import Run

SLOW_S: Final = 2.0
"""Seconds a step takes before it is shown. Flux shows every step, at one write each; the `flux` CLI
and dashboards only need to see what a person would wait for. Where a hundred Kustomizations come at
once, showing that each is a moment late makes all of them later."""
IN_PROGRESS: Final = "Reconciliation in progress"


class Attempt(attempt.Attempt[Kustomization, KustomizationStatus]):
    """One run.

    Args:
        context: the cluster.
        kind: how Kustomizations are written.
        item: the Kustomization as last read.
        run: the queue's view of the run.
    """

    def __init__(
        self, context: ClusterContext, kind: Kind[Kustomization], item: Kustomization, run: Run
    ) -> None:
        super().__init__(context, kind, item, item.status, run)
        self.is_busy = False
        """Whether the run has come to write or to wait for something."""
        self.digest = ""
        """Of the build, once there is one."""
        self._writing = asyncio.Lock()
        self._progress = ""
        self._shown = ""

    @property
    def item(self) -> Kustomization:
        """The Kustomization as it was read, with the status that the server has."""
        return self.basis

    @property
    def revision(self) -> str:
        """The revision that is being applied; empty before the source is known."""
        return self.artifact.revision if self.artifact else ""

    @property
    def is_verification(self) -> bool:
        """Whether somebody asked this run to ask the server about every object."""
        wanted = self.item.metadata.annotations.get(meta.VERIFY)
        return self.is_requested and wanted == self.item.requested_at

    def step(self, doing: str) -> None:
        """Note which step begins, in Flux's words.

        Args:
            doing: for example ``Building manifests``.
        """
        timeout = durations.format_go(timing.timeout_s(self.item.spec))
        self._progress = f"{doing} for revision {self.revision} with a timeout of {timeout}"

    @property
    def progress(self) -> str:
        """The message of the step that runs, or ran last; empty before the first."""
        return self._progress

    def notice(self, reason: str, message: str, *, severity: str = "info", **more: str) -> None:
        """Add an event, with the revision among its metadata."""
        self.notices.append(
            steps.notice(reason, message, severity=severity, **self.metadata(), **more)
        )

    def notice_quietly(self, reason: str, message: str, **more: str) -> None:
        """Add an event that is for notifications alone."""
        found = steps.notice(reason, message, **self.metadata(), **more)
        self.notices.append(replace(found, is_quiet=True))

    def metadata(self) -> dict[str, str]:
        """Return the metadata of every event about the revision."""
        if not self.revision:
            return {}
        found = {f"{meta.KUSTOMIZE_GROUP}/revision": self.revision}
        if self.origin_revision:
            found[f"{meta.KUSTOMIZE_GROUP}/originRevision"] = self.origin_revision
        return found

    @property
    def origin_revision(self) -> str:
        """The revision of what the source itself was made of, where it says so."""
        known = self.artifact.metadata if self.artifact else {}
        return known.get("org.opencontainers.image.revision", "")

    async def write(self, **fields: Any) -> None:  # noqa: ANN401 - as in `change`
        """Write some fields of the status now and leave the others as the server has them."""
        async with self._writing:
            await self._patch(msgspec.structs.replace(self.written.status, **fields))

    async def write_ahead(self, inventory: Inventory) -> None:
        """Write what is about to be applied; of an object without a verdict also that it is on."""
        shown = {}
        if conditions.is_unknown(self.before.conditions, meta.READY) and self._progress:
            self._shown = self._progress
            shown = self._in_progress(self._progress)
        await self.write(inventory=inventory, **shown)
        self.change(inventory=self.item.status.inventory)

    async def finish(self) -> None:
        """Write the wanted status and publish the events."""
        async with self._writing:
            await self._finish()

    async def show_when_slow(self, done: asyncio.Event) -> None:
        """Show each step that takes longer than `SLOW_S`, until ``done`` is set."""
        while not done.is_set():
            seen = self._progress
            try:
                async with asyncio.timeout(SLOW_S):
                    await done.wait()
            except TimeoutError:
                is_new = seen == self._progress != self._shown
                if seen and is_new and self._is_worth_showing():
                    self._shown = seen
                    await self.write(**self._in_progress(seen))

    def _is_worth_showing(self) -> bool:
        """Whether the run is about anything new: a slow look at what is well already is not."""
        before, generation = self.before, self.item.metadata.generation
        is_settled = (
            conditions.is_true(before.conditions, meta.READY)
            and before.observed_generation == generation
            and before.last_applied_revision == self.revision
        )
        return self.is_busy or not is_settled

    def _in_progress(self, message: str) -> dict[str, Any]:
        """Return the fields of the status that show a step."""
        shown = self.item.status.conditions
        for type_, status, text in (
            (meta.READY, "Unknown", IN_PROGRESS),
            (meta.RECONCILING, "True", message),
            *([(meta.HEALTHY, "Unknown", message)] if message.startswith("Running") else []),
        ):
            shown = conditions.set_(
                shown,
                type_,
                status,  # type: ignore[arg-type]  # one of the literals above
                meta.PROGRESSING,
                text,
                generation=self.item.metadata.generation,
                now=self.context.clock.now(),
            )
        attempted = self.status.last_attempted_revision
        return {"conditions": shown, "last_attempted_revision": attempted}
