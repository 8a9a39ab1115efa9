"""Dependencies that say by an expression when they are ready: the pure part."""

from __future__ import annotations

import pytest

from api import meta
from api.kustomize import (
    Dependency,
    Kustomization,
    KustomizationSpec,
    KustomizationStatus,
    SourceReference,
)
from reconcilers import dependencies, triggers


def make(name: str, *needs: Dependency, revision: str = "r1", version: str = "1") -> Kustomization:
    return Kustomization(
        metadata=meta.ObjectMeta(
            name=name, namespace="ns", generation=1, uid=name, resource_version=version
        ),
        spec=KustomizationSpec(
            interval="1m",
            prune=True,
            source_ref=SourceReference(kind="GitRepository", name="repo"),
            depends_on=needs,
        ),
        status=KustomizationStatus(observed_generation=1, last_applied_revision=revision),
    )


def by_expression(name: str) -> Dependency:
    return Dependency(name=name, ready_expr="dep.status.ready == true")


def unmet(
    item: Kustomization, *others: Kustomization, judged: str | None = None
) -> tuple[str | None, list[str]]:
    asked: list[str] = []

    def judge(entry: dependencies.Entry, key: dependencies.Key) -> str | None:
        asked.append(f"{key[0]}/{entry.name}")
        return judged

    known = {dependencies.key_of(other): other for other in others}
    found = dependencies.unmet(item, "r1", lambda *key: known.get(key), judge)
    return found, asked


def test_expression_counts_in_place_of_the_ready_condition() -> None:
    item, other = make("a", by_expression("b")), make("b")
    assert unmet(item, other) == (None, ["ns/b"])
    assert unmet(item, other, judged="not yet") == ("not yet", ["ns/b"])


def test_dependency_without_an_expression_is_judged_by_its_ready_condition() -> None:
    found = unmet(make("a", Dependency(name="b")), make("b"))
    assert found == ("dependency 'ns/b' is not ready", [])


def test_missing_dependency_is_told_before_its_expression_is_looked_at() -> None:
    found = unmet(make("a", by_expression("b")), judged="never asked")
    assert found == ("dependency 'ns/b' not found", [])


def test_revision_counts_beside_an_expression() -> None:
    found, _ = unmet(make("a", by_expression("b")), make("b", revision="r0"))
    assert found == "dependency 'ns/b' revision is not up to date"


def test_later_expression_is_not_looked_at_while_an_earlier_dependency_is_unmet() -> None:
    item = make("a", Dependency(name="b"), by_expression("c"))
    assert unmet(item, make("b"), make("c"), judged="x") == ("dependency 'ns/b' is not ready", [])


def test_versions_of_judged_dependencies_tell_whether_a_second_look_is_worth_it() -> None:
    item = make("a", by_expression("b"), Dependency(name="c"), by_expression("none"))
    known = {("ns", "b"): make("b", version="7"), ("ns", "c"): make("c", version="8")}
    assert dependencies.judged(item, lambda *key: known.get(key)) == ("7", "")


@pytest.mark.parametrize(("judges", "woken"), [(True, ["a"]), (False, [])])
def test_any_change_of_a_dependency_wakes_who_judges_it_by_an_expression(
    judges: bool, woken: list[str]
) -> None:
    entry = by_expression("b") if judges else Dependency(name="b")
    old, new = make("b", version="1"), make("b", version="2")
    everything = [make("a", entry), make("c", by_expression("elsewhere"))]
    found = triggers.on_kustomization("c1", old, new, everything)
    assert [ref.name for ref, _ in found] == woken


def test_dependant_that_judges_is_woken_once_when_its_dependency_gets_ready() -> None:
    ready = meta.Condition(
        type=meta.READY, status="True", reason="x", message="", last_transition_time=""
    )
    old, new = make("b"), make("b")
    new = Kustomization(
        metadata=new.metadata,
        spec=new.spec,
        status=KustomizationStatus(observed_generation=1, conditions=(ready,)),
    )
    found = triggers.on_kustomization("c1", old, new, [make("a", by_expression("b"))])
    assert [ref.name for ref, _ in found] == ["a"]
