"""Dependencies as pure functions."""

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
from reconcilers import dependencies


def make(
    name: str,
    *needs: str,
    namespace: str = "ns",
    revision: str = "r1",
    ready: str = "True",
    observed: int = 1,
    source: str = "repo",
) -> Kustomization:
    condition = meta.Condition(
        type=meta.READY, status=ready, reason="x", message="", last_transition_time=""
    )
    return Kustomization(
        metadata=meta.ObjectMeta(name=name, namespace=namespace, generation=1, uid=name),
        spec=KustomizationSpec(
            interval="1m",
            prune=True,
            source_ref=SourceReference(kind="GitRepository", name=source),
            depends_on=tuple(_dependency(need) for need in needs),
        ),
        status=KustomizationStatus(
            observed_generation=observed, conditions=(condition,), last_applied_revision=revision
        ),
    )


def _dependency(text: str) -> Dependency:
    namespace, _, name = text.rpartition("/")
    return Dependency(name=name, namespace=namespace)


def lookup(*items: Kustomization) -> dependencies.Lookup:
    known = {dependencies.key_of(item): item for item in items}
    return lambda namespace, name: known.get((namespace, name))


def test_nothing_to_depend_on_is_met() -> None:
    assert dependencies.unmet(make("a"), "r1", lookup()) is None


def test_ready_dependency_at_the_same_revision_is_met() -> None:
    assert dependencies.unmet(make("a", "b"), "r1", lookup(make("b"))) is None


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (None, "dependency 'ns/b' not found"),
        (make("b", ready="False"), "dependency 'ns/b' is not ready"),
        (make("b", ready="Unknown"), "dependency 'ns/b' is not ready"),
        (make("b", observed=0), "dependency 'ns/b' is not ready"),
        (make("b", revision="r0"), "dependency 'ns/b' revision is not up to date"),
    ],
)
def test_unmet_dependency_is_told_in_flux_words(other: Kustomization | None, text: str) -> None:
    known = lookup(other) if other else lookup()
    assert dependencies.unmet(make("a", "b"), "r1", known) == text


def test_revision_counts_for_the_same_source_only() -> None:
    other = make("b", revision="r0", source="elsewhere")
    assert dependencies.unmet(make("a", "b"), "r1", lookup(other)) is None


def test_first_unmet_dependency_in_the_order_of_the_spec_is_told() -> None:
    item = make("a", "z", "b")
    text = dependencies.unmet(item, "r1", lookup(make("b", ready="False")))
    assert text == "dependency 'ns/z' not found"


def test_namespace_of_a_dependency_is_its_own_or_ours() -> None:
    item = make("a", "other/b", "c")
    assert dependencies.keys_of(item) == [("other", "b"), ("ns", "c")]


def test_cycle_is_told_on_its_members_and_not_on_those_behind_it() -> None:
    one, two, three = make("1", "2"), make("2", "3"), make("3", "1")
    behind = make("4", "1")
    known = lookup(one, two, three, behind)
    text = dependencies.unmet(one, "r1", known)
    assert text == "circular dependency detected: ns/1 -> ns/2 -> ns/3 -> ns/1"
    assert dependencies.cycle(behind, known) == []
    assert dependencies.unmet(behind, "r1", known) is None


def test_object_that_depends_on_itself_is_a_cycle() -> None:
    item = make("a", "a")
    assert dependencies.cycle(item, lookup(item)) == [("ns", "a"), ("ns", "a")]


def test_order_puts_dependencies_first_and_loses_nobody() -> None:
    items = [make("c", "b"), make("b", "a"), make("a"), make("x", "y"), make("y", "x")]
    names = [item.metadata.name for item in dependencies.in_order(items)]
    assert names.index("a") < names.index("b") < names.index("c")
    assert sorted(names) == ["a", "b", "c", "x", "y"]


def test_long_chain_needs_no_recursion() -> None:
    items = [make(str(number), str(number + 1)) for number in range(3000)]
    assert len(dependencies.in_order(items)) == 3000
