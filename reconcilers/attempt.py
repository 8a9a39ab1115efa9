"""One run over one object that says what is applied: what it wants to say, and has said so far.

The base of the runs over Kustomizations and HelmReleases. Steps change `Attempt.status` in memory;
when the server learns of it differs between the two, as it does in Flux.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from api.helm import HelmRelease, HelmReleaseStatus
from api.kustomize import Kustomization, KustomizationStatus
from reconcilers import steps
from runtime import conditions

if TYPE_CHECKING:
    from api.artifact import Artifact
    from reconcilers.context import ClusterContext
    from reconcilers.steps import Kind, Notice
    from reconcilers.targets import Target
    from runtime.conditions import Status
    from runtime.controller import Run

T = TypeVar("T", Kustomization, HelmRelease)
S = TypeVar("S", KustomizationStatus, HelmReleaseStatus)


class Attempt(Generic[T, S]):
    """One run.

    Args:
        context: the cluster.
        kind: how objects of the kind are written.
        item: the object as last read.
        status: its status.
        run: the queue's view of the run.
    """

    def __init__(
        self, context: ClusterContext, kind: Kind[T], item: T, status: S, run: Run
    ) -> None:
        self.context, self.run = context, run
        self.kind: Kind[T] = kind
        self.ref = item.ref(context.name)
        self.started_s = context.clock.monotonic()
        self._read: T = item
        self.written: T = item
        """The object as the server has it."""
        self.before: S = status
        """The status that the run found."""
        self.status: S = status
        """The wanted status."""
        self.artifact: Artifact | None = None
        """What is to be applied, once that is known."""
        self.opened: Target | None = None
        """Where to apply, once that is known."""
        self.notices: list[Notice] = []

    @property
    def target(self) -> Target:
        """Where to apply, and as whom; only after it was found out."""
        if self.opened is None:
            raise AssertionError("the target comes before the first look at it")
        return self.opened

    @property
    def basis(self) -> T:
        """The object as it was read, with the status that the server has.

        What somebody wrote meanwhile, a spec or a request, is the next run's.
        """
        return msgspec.structs.replace(self._read, status=self.written.status)

    @property
    def generation(self) -> int:
        """The generation that the run is about."""
        return self._read.metadata.generation

    @property
    def is_requested(self) -> bool:
        """Whether somebody asked for this run and has had no answer yet."""
        token = self._read.requested_at
        return token is not None and token != self.before.last_handled_reconcile_at

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.context.clock.monotonic() - self.started_s

    def change(self, **fields: Any) -> None:  # noqa: ANN401 - the fields of the status, by name
        """Change fields of the wanted status."""
        self.status = msgspec.structs.replace(self.status, **fields)

    def condition(self, type_: str, status: Status, reason: str, message: str) -> None:
        """Set a condition of the wanted status."""
        self.change(
            conditions=conditions.set_(
                self.status.conditions,
                type_,
                status,
                reason,
                message,
                generation=self.generation,
                now=self.context.clock.now(),
            )
        )

    def without(self, *types: str) -> None:
        """Remove conditions of the wanted status."""
        self.change(conditions=conditions.remove(self.status.conditions, *types))

    async def hold(self) -> None:
        """Add the finalizer unless it is there; the run is about what the answer has.

        Raises:
            Conflict: the object changed since it was read; reconcile again.
        """
        self._read = self.written = await steps.add_finalizer(self.context, self.kind, self.written)

    async def _patch(self, status: S) -> None:
        """Write what differs from the status that the server has."""
        basis = self.basis
        answer = await steps.patch_status(self.context, self.kind, basis, status)
        if answer is not basis:
            self.written = answer

    async def _finish(self) -> None:
        """Write the wanted status, answer the request, and publish the events."""
        basis = self.basis
        answer = await steps.finish(
            self.context,
            self.kind,
            basis,
            self.status,
            started_s=self.started_s,
            notices=self.notices,
        )
        if answer is not basis:
            self.written = answer
        self.notices = []

    def publish(self) -> None:
        """Publish the events that gathered, before a step that may take long."""
        steps.publish(self.context, self.kind, self.written, self.notices)
        self.notices = []
