"""One run over one source: what it found so far, and the conditions that follow from it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Generic, cast

import msgspec

from api import meta
from reconcilers.source import objects
from reconcilers.source.objects import S
from runtime import conditions
from runtime.errors import GitOpsError, TerminalError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable

    from api.artifact import Artifact
    from reconcilers.source.objects import Source, Status
    from reconcilers.steps import Notice
    from runtime.conditions import Conditions

IN_PROGRESS: Final = "reconciliation in progress"


class Attempt(Generic[S]):
    """The state of a run.

    Args:
        source: how the kind is run.
        obj: the object as it was read.
        now: when the run began, aware.
    """

    def __init__(self, source: Source[S], obj: S, now: dt.datetime) -> None:
        self.obj: S = obj
        """The object as last read or written."""
        self.conditions: Conditions = obj.status.conditions
        self.artifact: Artifact | None = obj.status.artifact
        self.observed: dict[str, Any] = {}
        """Further fields of the status, by their names in the model, as they are to be now."""
        self.notices: list[Notice] = []
        self.afterwards: list[Callable[[], Awaitable[None]]] = []
        """What is to be done once the result is out."""
        self.condition = meta.FETCH_FAILED
        """The condition that a failure now would set."""
        self.progress = ""
        """What to show if the run lasts; empty while there is nothing anybody waits for."""
        self.is_rebuilding = False
        """Whether the content changes, so that Ready is no longer known."""
        self.worth_showing = asyncio.Event()
        self.ended = asyncio.Event()
        self._source = source
        self._was = obj.status
        self._now = now
        if obj.metadata.generation != obj.status.observed_generation:
            self.show(
                "processing object: new generation "
                f"{obj.status.observed_generation} -> {obj.metadata.generation}"
            )
        elif self.is_requested:
            self.show(IN_PROGRESS)

    @property
    def is_requested(self) -> bool:
        """Whether somebody asks for this run by the annotation."""
        requested = self.obj.metadata.annotations.get(meta.REQUESTED_AT, "")
        return requested not in {"", self._was.last_handled_reconcile_at}

    @property
    def has_new_content(self) -> bool:
        """Whether the artifact has other bytes than before the run."""
        old = self._was.artifact.digest if self._was.artifact else ""
        return self.artifact is not None and self.artifact.digest != old

    @property
    def was_failing(self) -> bool:
        """Whether the run before this one failed."""
        return any(
            conditions.is_true(self._was.conditions, type_) for type_ in self._source.failures
        )

    def show(self, text: str) -> None:
        """Set what users see if the run lasts."""
        self.progress = text
        self.worth_showing.set()

    def end(self) -> None:
        """Say that there is nothing to show any more."""
        self.ended.set()
        self.worth_showing.set()

    def set(self, type_: str, status: conditions.Status, reason: str, message: str) -> None:
        """Set one condition."""
        self.conditions = conditions.set_(
            self.conditions,
            type_,
            status,
            reason,
            message,
            generation=self.obj.metadata.generation,
            now=self._now,
        )

    def clear(self, *types: str) -> None:
        """Remove conditions."""
        self.conditions = conditions.remove(self.conditions, *types)

    def forget_refusal(self) -> None:
        """Forget that the last run's revision did not verify; one that did is still there."""
        if conditions.is_false(self.conditions, meta.SOURCE_VERIFIED):
            self.clear(meta.SOURCE_VERIFIED)

    def under_way(self) -> Status:
        """Return the status to show in the middle of the run."""
        self.set(meta.RECONCILING, "True", meta.PROGRESSING, self.progress)
        if self.is_rebuilding or conditions.is_unknown(self.conditions, meta.READY):
            self.set(meta.READY, "Unknown", meta.PROGRESSING, self.progress)
        return self._status(conditions=self.conditions)

    def succeeded(self) -> Status:
        """Return the status of a run that did everything."""
        self.clear(*self._source.failures, meta.ARTIFACT_OUTDATED, meta.RECONCILING, meta.STALLED)
        return self._summary(self.obj.metadata.generation)

    def suspended(self) -> Status:
        """Return the status of an object that is not to be looked at."""
        self.clear(meta.STALLED)
        is_known = bool(self.conditions)
        generation = self.obj.metadata.generation if is_known else self._was.observed_generation
        return self._status(conditions=self.conditions, observed_generation=generation)

    def failed(self, error: GitOpsError) -> Status:
        """Return the status of a run that ended early."""
        if isinstance(error, TerminalError):
            self._fail(error)
            self.set(meta.STALLED, "True", error.reason, error.message)
            return self._summary(self.obj.metadata.generation)
        self._fail(error)
        self.clear(meta.STALLED)
        self.set(
            meta.RECONCILING, "True", meta.PROGRESSING_WITH_RETRY, self.progress or IN_PROGRESS
        )
        return self._summary(self._was.observed_generation)

    def is_news(self, error: GitOpsError) -> bool:
        """Say whether a failure is another one than the last run's."""
        ready = conditions.get(self._was.conditions, meta.READY)
        return ready is None or (ready.reason, ready.message) != (error.reason, error.message)

    def _fail(self, error: GitOpsError) -> None:
        status: conditions.Status = "False" if self.condition in objects.POSITIVE else "True"
        self.set(self.condition, status, error.reason, error.message)

    def _summary(self, observed_generation: int) -> Status:
        order = self._source.order
        if conditions.is_false(self.conditions, meta.SOURCE_VERIFIED):
            # As in Flux: what is negative comes first otherwise, and that is not what there is to
            # tell of a revision that is not taken.
            order = (meta.SOURCE_VERIFIED,)
        summarised = conditions.summarise(
            self.conditions,
            order=order,
            negative=set(order) - objects.POSITIVE,
            generation=self.obj.metadata.generation,
            now=self._now,
        )
        return self._status(
            conditions=summarised,
            artifact=self.artifact,
            observed_generation=observed_generation,
            **self.observed,
        )

    def _status(self, **fields: object) -> Status:
        """Return the status with other values in some fields."""
        replaced: Status = msgspec.structs.replace(cast("Any", self.obj.status), **fields)
        return replaced
