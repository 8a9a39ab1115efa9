from __future__ import annotations

from api import meta
from inspection import survey, tree
from tests.support.fluxobjects import git, kustomization

GROUP = "kustomize.toolkit.fluxcd.io"


def ref(name: str) -> meta.ObjectRef:
    return meta.ObjectRef("home", "Kustomization", "flux-system", name)


def test_flux_objects_among_the_objects_are_entered() -> None:
    found = survey.of(
        "home",
        [
            kustomization("all", f"flux-system_apps_{GROUP}_Kustomization", "_shop__Namespace"),
            kustomization("apps", "shop_a__ConfigMap", "shop_web_apps_Deployment"),
        ],
    )

    root = tree.build(found, ref("all"))

    assert list(tree.lines(root)) == [
        "├── Namespace/shop",
        "└── Kustomization/flux-system/apps",
        "    ├── ConfigMap/shop/a",
        "    └── Deployment/shop/web",
    ]
    assert tree.size(root) == 4


def test_circle_ends() -> None:
    found = survey.of(
        "home",
        [
            kustomization("a", f"flux-system_b_{GROUP}_Kustomization"),
            kustomization("b", f"flux-system_a_{GROUP}_Kustomization"),
        ],
    )

    root = tree.build(found, ref("a"))

    assert list(tree.lines(root)) == [
        "└── Kustomization/flux-system/b",
        "    └── Kustomization/flux-system/a (is above already)",
    ]
    assert root.children[0].children[0].note == "is above already"


def test_object_of_another_cluster_is_not_taken_for_one_of_this() -> None:
    entry = f"flux-system_apps_{GROUP}_Kustomization"
    spec = {"kubeConfig": {"secretRef": {"name": "far"}}}
    remote = kustomization("all", entry, spec=spec)
    found = survey.of("home", [remote, kustomization("apps", "shop_a__ConfigMap")])

    root = tree.build(found, ref("all"))

    assert [child.title for child in root.children] == ["Kustomization/flux-system/apps"]
    assert root.children[0].children == ()
    assert "another cluster" in root.note


def test_nothing_owned_is_nothing_listed() -> None:
    found = survey.of("home", [kustomization("a"), git()])

    assert list(tree.lines(tree.build(found, ref("a")))) == []
    assert tree.build(found, ref("gone")).note == "not found"


def test_large_tree_is_folded_to_its_first_level() -> None:
    children = tuple(
        tree.Node(
            kind="Kustomization",
            name=f"app-{number}",
            children=tuple(tree.Node(kind="ConfigMap", name=f"{letter}") for letter in "abc"),
        )
        for number in range(3)
    )
    root = tree.Node(
        kind="FluxInstance",
        name="flux",
        children=(*children, tree.Node(kind="ConfigMap", name="d")),
    )

    folded = tree.pruned(root, 12)

    assert tree.pruned(root, 13) is root
    assert [each.children for each in folded.children] == [()] * 4
    assert list(tree.lines(folded)) == [
        "├── Kustomization/app-0 (3 objects below; ask for its own tree)",
        "├── Kustomization/app-1 (3 objects below; ask for its own tree)",
        "├── Kustomization/app-2 (3 objects below; ask for its own tree)",
        "└── ConfigMap/d",
    ]


def test_note_of_an_object_is_shown_behind_it() -> None:
    gone = tree.Node(kind="Kustomization", name="gone", note="its objects are in another cluster")
    root = tree.Node(kind="Kustomization", name="apps", children=(gone,))

    assert list(tree.lines(root)) == ["└── Kustomization/gone (its objects are in another cluster)"]
