from __future__ import annotations

from inspection import comparison, survey
from kube.objects import ObjectId
from tests.support.fluxobjects import git, kustomization


def test_clusters_differ_by_revision_spec_and_what_they_own() -> None:
    left = survey.of(
        "home",
        [
            git(),
            kustomization("apps", "shop_a__ConfigMap"),
            kustomization("old"),
            kustomization("same"),
        ],
    )
    right = survey.of(
        "work",
        [
            git(cluster="work"),
            kustomization(
                "apps",
                "shop_b__ConfigMap",
                spec={"prune": True, "interval": "5m"},
                lastAppliedRevision="main@sha1:2",
                cluster="work",
            ),
            kustomization("same", cluster="work", spec={"interval": "1h"}),
        ],
    )

    found = comparison.of_clusters(left, right)

    assert (found.left, found.right) == ("home", "work")
    assert found.only_left == ("Kustomization/flux-system/old",)
    assert found.same == 2
    (pair,) = found.differing
    fields = {each.field for each in pair.differences}
    assert {"revision", "spec.prune"} < fields
    assert any(field.startswith("owns") for field in fields)
    by_field = {each.field: (each.left, each.right) for each in pair.differences}
    assert by_field["spec.prune"] == ("(absent)", True)


def test_intervals_count_only_when_asked_for() -> None:
    left = survey.of("home", [kustomization("a", spec={"interval": "1m"})])
    right = survey.of("work", [kustomization("a", spec={"interval": "1h"}, cluster="work")])

    assert comparison.of_clusters(left, right).is_same
    assert not comparison.of_clusters(left, right, ignores_intervals=False).is_same


def test_values_of_secrets_are_masked_and_still_told_apart() -> None:
    name = ObjectId("shop", "db", "", "Secret")
    here = {"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {"p": "Z2VoZWlt"}}
    there = here | {"data": {"p": "YW5kZXJz"}}

    found = comparison.of_objects("a", "b", {name: here}, {name: there})

    (difference,) = found.differing[0].differences
    assert difference.field == "data.p"
    assert (difference.left, difference.right) == ("*** (before)", "*** (after)")


def test_telling_fields_of_other_objects_are_masked() -> None:
    name = ObjectId("shop", "web", "", "ConfigMap")
    here = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"password": "a"}}
    there = here | {"data": {"password": "b"}}

    (pair,) = comparison.of_objects("a", "b", {name: here}, {name: there}).differing

    assert (pair.differences[0].left, pair.differences[0].right) == ("***", "***")


def test_large_comparison_is_told_in_part_with_how_much_is_left_out() -> None:
    here = {f"ConfigMap/shop/{number}" for number in range(7)}
    pair = comparison.Pair(id="a", differences=())
    whole = comparison.Comparison(
        left="home", right="work", only_left=tuple(sorted(here)), differing=(pair,) * 4, same=9
    )

    shown = comparison.first(whole, 3)

    assert (len(shown.only_left), shown.only_right, len(shown.differing)) == (3, (), 3)
    assert (shown.omitted, shown.same, shown.is_same) == (5, 9, False)
    assert comparison.first(whole, 7).omitted == 0
