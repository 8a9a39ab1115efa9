"""Who has to be reconciled when an object changes: pure functions of what was and what is.

Every informer event comes here as a pair ``(old, new)``; None stands for absence. The answer is a
list of keys with the cause, which the daemon puts into the queues. The rules are Flux's, but that
dependencies wake their dependants, that a digest under the same revision counts as a change, and
that a dependency cycle stops nobody who is not on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from api import meta
from api.charts import HelmRepository
from reconcilers import dependencies
from runtime import conditions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.artifact import Artifact
    from api.charts import HelmChart
    from api.kustomize import Kustomization
    from api.meta import ObjectMeta, ObjectRef
    from api.source import GitRepository
    from reconcilers.context import ArtifactSource

Wakes = list[tuple["ObjectRef", str]]
"""Keys to wake, each with the cause; in the order in which to queue them."""


class HasMetadata(Protocol):
    """Any object of ours."""

    @property
    def metadata(self) -> ObjectMeta:
        """Its metadata."""
        ...


def needs_reconcile(old: HasMetadata | None, new: HasMetadata | None) -> bool:
    """Whether an object's own change asks for a reconcile: created, spec, request, deletion.

    A change of status, labels, other annotations or finalizers does not.
    """
    if new is None:
        return False
    if old is None or old.metadata.uid != new.metadata.uid:
        return True
    before, after = old.metadata, new.metadata
    return (
        before.generation != after.generation
        or before.annotations.get(meta.REQUESTED_AT) != after.annotations.get(meta.REQUESTED_AT)
        or before.deletion_timestamp != after.deletion_timestamp
    )


def on_source(
    cluster: str,
    old: ArtifactSource | None,
    new: ArtifactSource | None,
    kustomizations: Iterable[Kustomization],
) -> Wakes:
    """Return the Kustomizations to wake for a source event: its artifact appeared or changed.

    Those that others depend on come first, so that a dependant mostly finds its dependency done.
    """
    artifact = new.status.artifact if new else None
    if new is None or artifact is None or _is_same(old.status.artifact if old else None, artifact):
        return []
    everything = list(kustomizations)
    key = dependencies.SourceKey(new.KIND, new.metadata.namespace, new.metadata.name)
    users = [item for item in everything if dependencies.source_of(item) == key]
    if old is None:
        users = [item for item in users if not _has_attempted(item, artifact.revision)]
    return [(item.ref(cluster), str(key)) for item in dependencies.in_order(users)]


def on_chart_source(
    cluster: str,
    old: ArtifactSource | None,
    new: ArtifactSource | None,
    charts: Iterable[HelmChart],
) -> Wakes:
    """Return the HelmCharts to wake for a source event: its artifact appeared or changed.

    A registry has no artifact; what counts there is that it appeared, or its spec changed.
    """
    if new is None:
        return []
    artifact = new.status.artifact
    if isinstance(new, HelmRepository) and new.is_static:
        revision = ""
        is_same = old is not None and old.metadata.generation == new.metadata.generation
    else:
        revision = artifact.revision if artifact else ""
        known = old.status.artifact if old else None
        is_same = artifact is None or _is_same(known, artifact)
    if is_same:
        return []
    namespace, name = new.metadata.namespace, new.metadata.name
    return [
        (item.ref(cluster), f"{new.KIND}/{namespace}/{name}")
        for item in charts
        if (item.spec.source_ref.kind, item.metadata.namespace, item.spec.source_ref.name)
        == (new.KIND, namespace, name)
        and (old is not None or not _has_observed(item, revision))
    ]


def on_included(
    cluster: str,
    old: GitRepository | None,
    new: GitRepository | None,
    repositories: Iterable[GitRepository],
) -> Wakes:
    """Return the GitRepositories to wake because one that they include has changed.

    Its artifact counts, and its spec: what it includes may have made a circle, or opened one.
    """
    if new is None:
        return []
    is_same = old is not None and old.metadata.generation == new.metadata.generation
    artifact = new.status.artifact
    if is_same and (artifact is None or _is_same(old.status.artifact if old else None, artifact)):
        return []
    namespace, name = new.metadata.namespace, new.metadata.name
    return [
        (item.ref(cluster), f"GitRepository/{namespace}/{name}")
        for item in repositories
        if item.metadata.namespace == namespace
        and any(each.repository.name == name for each in item.spec.include)
    ]


def on_kustomization(
    cluster: str,
    old: Kustomization | None,
    new: Kustomization | None,
    kustomizations: Iterable[Kustomization],
) -> Wakes:
    """Return whom a Kustomization event wakes: itself for its own change, dependants when it moved.

    Every dependant is woken when its dependency became ready or was applied at another revision,
    also one that does not seem to wait: it may be looking at this moment, and looking again costs
    nothing. So is it when its dependency appears: what was not found is there now, or closes a
    circle. One that judges its dependency by an expression is woken by any change of it, as the
    expression may speak of any field.
    """
    subject = new or old
    if subject is None:
        return []
    cause = f"Kustomization/{subject.metadata.namespace}/{subject.metadata.name}"
    wakes: Wakes = []
    if new is not None and needs_reconcile(old, new):
        wakes.append((new.ref(cluster), cause))
    if new is not None:
        key = dependencies.key_of(new)
        is_forward = old is None or _is_step_forward(old, new)
        wakes.extend(
            (item.ref(cluster), cause)
            for item in kustomizations
            if item.spec.depends_on  # few have any, and this runs for every event
            and ((is_forward and key in dependencies.keys_of(item)) or _judges(item, key))
        )
    return wakes


def _judges(item: Kustomization, key: dependencies.Key) -> bool:
    """Whether a Kustomization judges another by an expression."""
    pairs = zip(item.spec.depends_on, dependencies.keys_of(item), strict=True)
    return any(entry.ready_expr and each == key for entry, each in pairs)


def _is_step_forward(old: Kustomization, new: Kustomization) -> bool:
    readiness = _readiness(new)
    return readiness[0] and _readiness(old) != readiness


def _readiness(item: Kustomization) -> tuple[bool, str]:
    """Return what dependants judge a Kustomization by."""
    is_current = item.status.observed_generation == item.metadata.generation
    is_ready = conditions.is_true(item.status.conditions, meta.READY)
    return (is_current and is_ready, item.status.last_applied_revision)


def _is_same(old: Artifact | None, new: Artifact) -> bool:
    """Whether this is still the file it was; one that was lost and made again has a new time."""
    return old is not None and _identity(old) == _identity(new)


def _has_observed(item: HelmChart, revision: str) -> bool:
    return bool(revision) and item.status.observed_source_artifact_revision == revision


def _identity(artifact: Artifact) -> tuple[str, str, str]:
    return artifact.revision, artifact.digest, artifact.last_update_time


def _has_attempted(item: Kustomization, revision: str) -> bool:
    """Whether a restart finds the revision dealt with already; Flux's skip rule."""
    state = item.status.conditions
    is_settled = conditions.is_true(state, meta.READY) or conditions.is_true(
        state, meta.RECONCILING
    )
    return is_settled and item.status.last_attempted_revision == revision
