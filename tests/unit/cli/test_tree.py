from __future__ import annotations

import msgspec

from api.kustomize import Kustomization
from cli import tree

GROUP = "kustomize.toolkit.fluxcd.io"


def item(name: str, *entries: str) -> tuple[tuple[str, str], Kustomization]:
    inventory = [{"id": entry, "v": "v1"} for entry in entries]
    found = msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "flux-system"},
            "spec": {
                "interval": "1m",
                "prune": True,
                "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            },
            "status": {"inventory": {"entries": inventory}},
        },
        type=Kustomization,
    )
    return ("flux-system", name), found


def test_kustomizations_among_the_objects_are_entered() -> None:
    items = dict(
        [
            item("all", f"flux-system_apps_{GROUP}_Kustomization", "_shop__Namespace"),
            item("apps", "shop_a__ConfigMap", "shop_web_apps_Deployment"),
        ]
    )

    assert list(tree.lines(items, ("flux-system", "all"))) == [
        "├── Namespace/shop",
        "└── Kustomization/flux-system/apps",
        "    ├── ConfigMap/shop/a",
        "    └── Deployment/shop/web",
    ]


def test_circle_ends() -> None:
    items = dict(
        [
            item("a", f"flux-system_b_{GROUP}_Kustomization"),
            item("b", f"flux-system_a_{GROUP}_Kustomization"),
        ]
    )

    assert list(tree.lines(items, ("flux-system", "a"))) == [
        "└── Kustomization/flux-system/b",
        "    └── Kustomization/flux-system/a",
    ]


def test_nothing_owned_is_nothing_listed() -> None:
    assert list(tree.lines(dict([item("a")]), ("flux-system", "a"))) == []
