"""Who is woken by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from api import meta
from api.artifact import Artifact
from api.charts import (
    ChartSourceReference,
    HelmChart,
    HelmChartSpec,
    HelmChartStatus,
    HelmRepository,
    HelmRepositorySpec,
)
from api.source import GitInclude, GitRepository, GitRepositorySpec, GitRepositoryStatus
from reconcilers import triggers
from tests.unit.reconcilers.test_dependencies import make

if TYPE_CHECKING:
    from api.kustomize import Kustomization


def artifact(revision: str, digest: str = "sha256:a") -> Artifact:
    return Artifact(
        digest=digest, path="p", url="u", revision=revision, last_update_time="2026-01-01T00:00:00Z"
    )


def source(revision: str | None = None, digest: str = "sha256:a", **metadata: Any) -> GitRepository:
    return GitRepository(
        metadata=meta.ObjectMeta(name="repo", namespace="ns", uid="s", generation=1, **metadata),
        spec=GitRepositorySpec(url="https://example.com/r", interval="1m"),
        status=GitRepositoryStatus(artifact=artifact(revision, digest) if revision else None),
    )


def change(item: Kustomization, **metadata: Any) -> Kustomization:
    return msgspec.structs.replace(
        item, metadata=msgspec.structs.replace(item.metadata, **metadata)
    )


def status(item: Kustomization, **fields: Any) -> Kustomization:
    return msgspec.structs.replace(item, status=msgspec.structs.replace(item.status, **fields))


def names(wakes: list[tuple[meta.ObjectRef, str]]) -> list[str]:
    return [ref.name for ref, _ in wakes]


def test_own_changes_that_ask_for_a_run() -> None:
    item = make("a")
    assert triggers.needs_reconcile(None, item)
    assert triggers.needs_reconcile(item, change(item, generation=2))
    assert triggers.needs_reconcile(item, change(item, annotations={meta.REQUESTED_AT: "now"}))
    assert triggers.needs_reconcile(item, change(item, deletion_timestamp="2026-01-01T00:00:00Z"))
    assert triggers.needs_reconcile(item, change(item, uid="another"))


def test_own_changes_that_do_not() -> None:
    item = make("a")
    assert not triggers.needs_reconcile(item, item)
    assert not triggers.needs_reconcile(item, None)
    assert not triggers.needs_reconcile(item, change(item, labels={"x": "y"}))
    assert not triggers.needs_reconcile(item, change(item, finalizers=("f",)))
    assert not triggers.needs_reconcile(item, status(item, last_applied_revision="r2"))


def test_new_revision_wakes_the_users_of_the_source_in_the_order_of_their_dependencies() -> None:
    items = [make("b", "a"), make("a"), make("x", source="elsewhere")]
    wakes = triggers.on_source("c1", source("r1"), source("r2"), items)
    assert names(wakes) == ["a", "b"]
    assert wakes[0] == (meta.ObjectRef("c1", "Kustomization", "ns", "a"), "GitRepository/ns/repo")


def including(name: str, *names: str, namespace: str = "ns") -> GitRepository:
    found = source("r1")
    include = tuple(GitInclude(repository=meta.LocalReference(name=each)) for each in names)
    return msgspec.structs.replace(
        found,
        metadata=msgspec.structs.replace(found.metadata, name=name, namespace=namespace),
        spec=msgspec.structs.replace(found.spec, include=include),
    )


def test_changed_artifact_wakes_the_repositories_that_include_it() -> None:
    items = [
        including("a", "x", "repo"),
        including("b", "x"),
        including("c", "repo", namespace="elsewhere"),
    ]
    for old, new in (
        (None, source("r1")),
        (source("r1"), source("r2")),
        (source("r1"), source("r1", digest="sha256:b")),
    ):
        assert names(triggers.on_included("c1", old, new, items)) == ["a"]
    assert triggers.on_included("c1", source("r1"), source("r1"), items) == []
    assert triggers.on_included("c1", source("r1"), None, items) == []
    wakes = triggers.on_included("c1", source("r1"), source("r2"), items)
    assert wakes == [(meta.ObjectRef("c1", "GitRepository", "ns", "a"), "GitRepository/ns/repo")]


def test_other_spec_of_an_included_repository_may_have_opened_a_circle() -> None:
    old = including("repo", "a")
    new = msgspec.structs.replace(
        including("repo"), metadata=msgspec.structs.replace(old.metadata, generation=2)
    )
    assert names(triggers.on_included("c1", old, new, [including("a", "repo")])) == ["a"]


def test_artifact_that_was_lost_and_made_again_wakes_who_missed_it() -> None:
    old = source("r1")
    assert old.status.artifact
    again = msgspec.structs.replace(old.status.artifact, last_update_time="2026-01-01T00:01:00Z")
    new = msgspec.structs.replace(old, status=msgspec.structs.replace(old.status, artifact=again))
    assert names(triggers.on_source("c1", old, new, [make("a")])) == ["a"]


def test_other_digest_under_the_same_revision_wakes_too() -> None:
    wakes = triggers.on_source("c1", source("r1"), source("r1", digest="sha256:b"), [make("a")])
    assert names(wakes) == ["a"]


def test_source_event_without_a_new_artifact_wakes_nobody() -> None:
    items = [make("a")]
    assert triggers.on_source("c1", source("r1"), source("r1"), items) == []
    assert triggers.on_source("c1", source(), source(), items) == []
    assert triggers.on_source("c1", source("r1"), None, items) == []


def test_start_skips_whoever_has_dealt_with_the_revision() -> None:
    done = status(make("done"), last_attempted_revision="r1")
    behind = status(make("behind"), last_attempted_revision="r0")
    failing = status(make("failing", ready="False"), last_attempted_revision="r1")
    wakes = triggers.on_source("c1", None, source("r1"), [done, behind, failing])
    assert names(wakes) == ["behind", "failing"]


def test_dependants_are_woken_when_a_dependency_becomes_ready_or_moves() -> None:
    waits, other = make("waits", "a"), make("other")
    old, new = make("a", ready="False"), make("a")
    assert names(triggers.on_kustomization("c1", old, new, [waits, other])) == ["waits"]
    moved = status(new, last_applied_revision="r2")
    assert names(triggers.on_kustomization("c1", new, moved, [waits, other])) == ["waits"]


def test_dependants_are_woken_when_a_dependency_appears() -> None:
    wakes = triggers.on_kustomization("c1", None, make("a", ready="False"), [make("waits", "a")])
    assert names(wakes) == ["a", "waits"]


def test_dependency_that_fails_wakes_nobody() -> None:
    assert (
        triggers.on_kustomization("c1", make("a"), make("a", ready="False"), [make("w", "a")]) == []
    )


def test_one_member_of_a_cycle_does_not_keep_others_from_being_woken() -> None:
    items = [make("1", "2"), make("2", "1"), make("free")]
    assert set(names(triggers.on_source("c1", None, source("r9"), items))) == {"1", "2", "free"}


def chart(
    name: str, kind: str = "GitRepository", namespace: str = "ns", seen: str = ""
) -> HelmChart:
    return HelmChart(
        metadata=meta.ObjectMeta(name=name, namespace=namespace),
        spec=HelmChartSpec(
            chart="c", interval="1m", source_ref=ChartSourceReference(kind=kind, name="repo")
        ),
        status=HelmChartStatus(observed_source_artifact_revision=seen),
    )


def registry(generation: int) -> HelmRepository:
    return HelmRepository(
        metadata=meta.ObjectMeta(name="repo", namespace="ns", generation=generation),
        spec=HelmRepositorySpec(url="oci://h/charts", type="oci"),
    )


def test_new_artifact_wakes_the_charts_in_it() -> None:
    charts = [chart("a"), chart("b", "HelmRepository"), chart("c", namespace="other")]
    wakes = triggers.on_chart_source("c1", source("r1"), source("r2"), charts)
    assert wakes == [(meta.ObjectRef("c1", "HelmChart", "ns", "a"), "GitRepository/ns/repo")]
    again = triggers.on_chart_source("c1", source("r1"), source("r1", "sha256:b"), charts)
    assert names(again) == ["a"]
    for old, new in ((source("r1"), source("r1")), (source("r1"), source()), (source("r1"), None)):
        assert triggers.on_chart_source("c1", old, new, charts) == []


def test_start_wakes_the_charts_that_have_not_seen_the_artifact() -> None:
    charts = [chart("old", seen="r0"), chart("new", seen="r1"), chart("never")]
    assert names(triggers.on_chart_source("c1", None, source("r1"), charts)) == ["old", "never"]


def test_registry_wakes_its_charts_when_it_comes_or_changes() -> None:
    charts = [chart("a", "HelmRepository"), chart("b")]
    assert names(triggers.on_chart_source("c1", None, registry(1), charts)) == ["a"]
    assert names(triggers.on_chart_source("c1", registry(1), registry(2), charts)) == ["a"]
    assert triggers.on_chart_source("c1", registry(1), registry(1), charts) == []
