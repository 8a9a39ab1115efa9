"""Who has to be reconciled when a HelmRelease or a chart changes: pure functions.

The rules are Flux's, but that dependencies wake their dependants, and that whoever takes a
HelmChart away or changes its spec wakes its maker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta
from reconcilers import dependencies, triggers
from reconcilers.helmrelease import chartobject
from runtime import conditions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.artifact import Artifact
    from api.helm import HelmRelease
    from reconcilers.context import ArtifactSource
    from reconcilers.triggers import Wakes

CHARTS: Final = frozenset({"HelmChart", "OCIRepository", "ExternalArtifact"})
"""The kinds whose artifact may be a chart."""


def on_release(
    cluster: str,
    old: HelmRelease | None,
    new: HelmRelease | None,
    releases: Iterable[HelmRelease],
) -> Wakes:
    """Return whom a HelmRelease event wakes: itself for its own change, dependants when it moved.

    One that judges its dependency by an expression is woken by any change of it.
    """
    if new is None:
        return []
    cause = f"{new.KIND}/{new.metadata.namespace}/{new.metadata.name}"
    wakes: Wakes = []
    if triggers.needs_reconcile(old, new):
        wakes.append((new.ref(cluster), cause))
    key, is_forward = dependencies.key_of(new), _is_step_forward(old, new)
    wakes.extend(
        (item.ref(cluster), cause)
        for item in releases
        if _depends(item, key, is_forward=is_forward)
    )
    return wakes


def on_chart(
    cluster: str,
    kind: str,
    old: ArtifactSource | None,
    new: ArtifactSource | None,
    releases: Iterable[HelmRelease],
) -> Wakes:
    """Return the HelmReleases that an event of their chart wakes.

    Args:
        cluster: its name.
        kind: of the object that offers the chart.
        old: the object as it was.
        new: the object as it is.
        releases: all of the cluster.
    """
    subject = new or old
    if subject is None or kind not in CHARTS:
        return []
    if old is not None and new is not None and _told(old) == _told(new):
        return []
    own = subject.metadata
    key = dependencies.SourceKey(kind, own.namespace, own.name)
    users = [item for item in releases if chartobject.source_of(item) == key]
    if old is None and new is not None:
        artifact = new.status.artifact
        users = [item for item in users if not _has_attempted(item, artifact)]
    return [(item.ref(cluster), str(key)) for item in dependencies.in_order(users)]


def _depends(item: HelmRelease, key: dependencies.Key, *, is_forward: bool) -> bool:
    pairs = zip(item.spec.depends_on, dependencies.keys_of(item), strict=True)
    return any(each == key and (is_forward or entry.ready_expr) for entry, each in pairs)


def _is_step_forward(old: HelmRelease | None, new: HelmRelease) -> bool:
    is_new = old is None or not dependencies.is_ready(old)
    return is_new and dependencies.is_ready(new)


def _told(source: ArtifactSource) -> tuple[object, ...]:
    """Return what of a source a release depends on."""
    artifact, said = source.status.artifact, source.status.conditions
    identity = (artifact.revision, artifact.digest, artifact.last_update_time) if artifact else ()
    return (source.metadata.generation, identity, conditions.is_true(said, meta.STALLED))


def _has_attempted(item: HelmRelease, artifact: Artifact | None) -> bool:
    """Whether a restart finds the chart dealt with already; Flux's skip rule."""
    said = item.status.conditions
    is_settled = conditions.is_true(said, meta.READY) or conditions.is_true(said, meta.RECONCILING)
    attempted = item.status.last_attempted_revision.partition("+")[0]
    return is_settled and artifact is not None and artifact.revision.startswith(attempted or "\0")
