"""What a kind has to look like to be run as a source, and what it does its own way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Generic, Protocol, TypeAlias, TypeVar

from api import meta

if TYPE_CHECKING:
    from api.artifact import Artifact
    from api.meta import Condition, ObjectMeta, ObjectRef
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt


class Spec(Protocol):
    """The part of a source's spec that its run reads; ``suspend`` is read where it exists."""

    @property
    def interval(self) -> str:
        """How often to look, as a duration."""
        ...


class Status(Protocol):
    """The part of a source's status that its run reads and writes."""

    @property
    def observed_generation(self) -> int:
        """The generation that was last dealt with."""
        ...

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """How it stands."""
        ...

    @property
    def artifact(self) -> Artifact | None:
        """What the last successful run produced."""
        ...

    @property
    def last_handled_reconcile_at(self) -> str:
        """The token of the last request."""
        ...


class SourceObject(Protocol):
    """An object that a source reconciler keeps the artifact of."""

    GROUP: ClassVar[str]
    VERSION: ClassVar[str]
    KIND: ClassVar[str]

    @property
    def metadata(self) -> ObjectMeta:
        """Its metadata."""
        ...

    @property
    def spec(self) -> Spec:
        """What is wanted."""
        ...

    @property
    def status(self) -> Status:
        """What was found."""
        ...

    def ref(self, cluster: str) -> ObjectRef:
        """Return its key in the cluster of that name."""
        ...


S = TypeVar("S", bound=SourceObject)

FAILURES: Final = (
    meta.FETCH_FAILED,
    meta.INCLUDE_UNAVAILABLE,
    meta.STORAGE_OPERATION_FAILED,
)
POSITIVE: Final = frozenset({meta.ARTIFACT_IN_STORAGE, meta.SOURCE_VERIFIED})
ORDER: Final = (
    meta.STORAGE_OPERATION_FAILED,
    meta.FETCH_FAILED,
    meta.INCLUDE_UNAVAILABLE,
    meta.ARTIFACT_OUTDATED,
    meta.ARTIFACT_IN_STORAGE,
    meta.SOURCE_VERIFIED,
    meta.STALLED,
    meta.RECONCILING,
)
"""The conditions that decide about Ready, most important first, as in Flux."""

Produce: TypeAlias = Callable[["ClusterContext", "Attempt[S]"], Awaitable[None]]
"""Makes the artifact current, or raises a `GitOpsError`: what the status is to say."""


@dataclass(frozen=True, slots=True)
class Source(Generic[S]):
    """What one kind of source does its own way."""

    type: type[S]
    """The model."""
    produce: Produce[S]
    """Fetches and stores; see `reconcilers.source.artifacts` for the steps all kinds share."""
    order: tuple[str, ...] = ORDER
    """The conditions that decide about Ready, most important first."""
    failures: tuple[str, ...] = FAILURES
    """The conditions that a run which did everything takes away."""
    forget: Callable[[ClusterContext, S], None] | None = None
    """Removes what was kept beside the artifacts of an object that is deleted; blocks."""
