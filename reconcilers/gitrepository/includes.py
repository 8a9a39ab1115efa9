"""The artifacts of other GitRepositories that become part of one: which they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import TerminalError, WaitingError
from sources import composed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.artifact import Artifact
    from api.source import GitInclude, GitRepository
    from reconcilers.context import ClusterContext
    from sources.composed import Part

NOT_FOUND: Final = "NotFound"
NO_ARTIFACT: Final = "NoArtifact"
CYCLE: Final = "IncludeCycle"
COPY_FAILURE: Final = "CopyFailure"


def find(context: ClusterContext, obj: GitRepository) -> tuple[Artifact, ...]:
    """Return the artifact of each entry of ``spec.include``, in that order.

    Raises:
        WaitingError: one is not there yet.
        TerminalError: the object would include itself, be it by way of others.
    """
    namespace = obj.metadata.namespace
    if not obj.spec.include:
        return ()

    def lookup(name: str) -> GitRepository | None:
        return context.gitrepositories.get(namespace, name)

    circle = cycle(obj, lookup)
    if circle:
        raise TerminalError(CYCLE, f"circular include detected: {' -> '.join(circle)}")
    return tuple(
        _artifact(each, lookup, context.settings.requeue_dependency_s) for each in obj.spec.include
    )


def cycle(obj: GitRepository, lookup: Callable[[str], GitRepository | None]) -> list[str]:
    """Return the way by which an object includes itself, from itself to itself; empty for none.

    Each of its artifacts would contain the one before: they would grow for ever.
    """
    start = obj.metadata.name
    ways = [[start, each.repository.name] for each in obj.spec.include]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        if way[-1] == start:
            return way
        if way[-1] in seen:
            continue
        seen.add(way[-1])
        found = lookup(way[-1])
        included = found.spec.include if found else ()
        ways += [[*way, each.repository.name] for each in included]
    return []


def has_changed(obj: GitRepository, included: Sequence[Artifact]) -> bool:
    """Tell whether the object's artifact was built with others than these, or put elsewhere."""
    status = obj.status
    before = [(each.revision, each.digest) for each in status.included_artifacts]
    now = [(each.revision, each.digest) for each in included]
    return before != now or status.observed_include != obj.spec.include


def parts(context: ClusterContext, obj: GitRepository, included: Sequence[Artifact]) -> list[Part]:
    """Return what is copied in, and to where."""
    return [
        composed.Part(
            composed.TreeFiles(context.storage.open(artifact)),
            target=composed.inside(_target(each)),
            source=composed.inside(each.from_path),
        )
        for each, artifact in zip(obj.spec.include, included, strict=True)
    ]


def failure(include: GitInclude, error: Exception) -> str:
    """Say that an entry of ``spec.include`` cannot be copied."""
    name, source = include.repository.name, include.from_path
    return f"failed to copy '{name}' include from {source} to {_target(include)}: {error}"


def _target(include: GitInclude) -> str:
    return include.to_path or include.repository.name


def _artifact(
    include: GitInclude, lookup: Callable[[str], GitRepository | None], requeue_after_s: float
) -> Artifact:
    name = include.repository.name
    found = lookup(name)
    if found is None:
        text = f"could not get resource for include '{name}': GitRepository '{name}' not found"
        raise WaitingError(NOT_FOUND, text, requeue_after_s=requeue_after_s)
    if found.status.artifact is None or found.metadata.deletion_timestamp:
        text = f"no artifact available for include '{name}'"
        raise WaitingError(NO_ARTIFACT, text, requeue_after_s=requeue_after_s)
    return found.status.artifact
