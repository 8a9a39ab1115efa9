from __future__ import annotations

from api import meta
from inspection import graph, survey
from tests.support.fluxobjects import flux, git, kustomization

GROUP = "kustomize.toolkit.fluxcd.io"
CLUSTER = survey.of(
    "home",
    [
        git(),
        git("lonely"),
        kustomization("root", f"flux-system_apps_{GROUP}_Kustomization"),
        kustomization("apps", spec={"dependsOn": [{"name": "infra"}]}, ready="False"),
        kustomization("infra", source="other"),
        flux("HelmRelease", "web", {"chartRef": {"kind": "OCIRepository", "name": "chart"}}),
    ],
)


def ids(found: graph.Graph) -> set[str]:
    return {node.id for node in found.nodes}


def test_edges_point_to_who_needs_something() -> None:
    found = {
        (edge.source.rpartition("/")[2], edge.relation, edge.target.rpartition("/")[2])
        for edge in graph.build(CLUSTER).edges
    }

    assert found == {
        ("fleet", "source", "root"),
        ("fleet", "source", "apps"),
        ("infra", "dependsOn", "apps"),
        ("other", "source", "infra"),
        ("root", "applies", "apps"),
        ("chart", "source", "web"),
    }


def test_what_is_named_and_not_there_is_missing() -> None:
    states = {node.id: node.state for node in graph.build(CLUSTER).nodes}

    assert states["GitRepository/flux-system/other"] == "Missing"
    assert states["Kustomization/flux-system/apps"] == "Failed"


def test_source_that_nobody_uses_is_left_out_of_the_whole() -> None:
    assert "GitRepository/flux-system/lonely" not in ids(graph.build(CLUSTER))


def test_graph_around_an_object_has_what_it_needs_and_who_needs_it() -> None:
    around = meta.ObjectRef("home", "Kustomization", "flux-system", "infra")

    assert ids(graph.build(CLUSTER, around)) == {
        "GitRepository/flux-system/other",
        "Kustomization/flux-system/infra",
        "Kustomization/flux-system/apps",
    }


def test_mermaid_names_nodes_without_special_characters() -> None:
    text = graph.mermaid(graph.build(CLUSTER))

    assert text.startswith("flowchart LR")
    assert "Kustomization_flux_system_infra -. dependsOn .-> Kustomization_flux_system_apps" in text
    assert "class Kustomization_flux_system_apps Failed" in text


def test_dot_is_one_digraph() -> None:
    text = graph.dot(graph.build(CLUSTER))

    assert text.startswith("digraph flux {")
    assert text.endswith("}")
    assert '"Kustomization/flux-system/root" -> "Kustomization/flux-system/apps"' in text


def test_trouble_is_drawn_with_its_neighbours_alone() -> None:
    found = graph.troubled(graph.build(CLUSTER))

    assert {
        "Kustomization/flux-system/apps",
        "GitRepository/flux-system/fleet",
        "Kustomization/flux-system/infra",
    } <= ids(found)
    healthy = {"GitRepository/flux-system/fleet", "Kustomization/flux-system/root"}
    assert not any({edge.source, edge.target} == healthy for edge in found.edges)
