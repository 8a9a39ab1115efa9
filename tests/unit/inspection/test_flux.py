from __future__ import annotations

from typing import Any

import pytest

from api import meta
from inspection import flux
from inspection.flux import State
from kube.objects import ObjectId
from tests.support import fluxobjects
from tests.support.fluxobjects import kustomization


def ref(kind: str, name: str, namespace: str = "flux-system") -> meta.ObjectRef:
    return meta.ObjectRef("home", kind, namespace, name)


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ({"sourceRef": {"kind": "Bucket", "name": "b"}}, ref("Bucket", "b")),
        (
            {"chartRef": {"kind": "OCIRepository", "name": "c", "namespace": "charts"}},
            ref("OCIRepository", "c", "charts"),
        ),
        (
            {"chart": {"spec": {"sourceRef": {"kind": "HelmRepository", "name": "h"}}}},
            ref("HelmRepository", "h"),
        ),
        (
            {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "h"}},
            ref("HelmRepository", "h"),
        ),
        ({"url": "https://example.com"}, None),
    ],
)
def test_source_is_found_in_every_field_that_may_name_it(
    spec: dict[str, object], source: meta.ObjectRef | None
) -> None:
    assert fluxobjects.flux("HelmRelease", "web", spec).source == source


@pytest.mark.parametrize(
    ("status", "revision"),
    [
        ({"artifact": {"revision": "main@sha1:1"}}, "main@sha1:1"),
        ({"lastAppliedRevision": "main@sha1:2", "lastAttemptedRevision": "3"}, "main@sha1:2"),
        ({"history": [{"chartVersion": "6.5.0"}, {"chartVersion": "6.4.0"}]}, "6.5.0"),
        ({"lastAttemptedRevision": "6.6.0"}, "6.6.0"),
        ({}, ""),
    ],
)
def test_revision_is_found_whichever_field_a_kind_has(
    status: dict[str, Any], revision: str
) -> None:
    assert fluxobjects.flux("HelmRelease", "web", **status).revision == revision


def test_states_are_those_of_fluxs_web_page() -> None:
    assert kustomization("a").state is State.READY
    assert kustomization("a", spec={"suspend": True}).state is State.SUSPENDED
    assert kustomization("a", ready="False", reason="BuildFailed").state is State.FAILED
    assert kustomization("a", ready="Unknown", reason="Progressing").state is State.PROGRESSING
    assert kustomization("a", ready=None).state is State.UNKNOWN


def test_ready_at_an_earlier_spec_is_progress() -> None:
    found = kustomization("a")
    found.raw["metadata"]["generation"] = 2

    assert found.state is State.PROGRESSING


def test_operators_object_is_suspended_by_its_annotation() -> None:
    found = fluxobjects.flux("FluxInstance", "flux")
    found.raw["metadata"]["annotations"] = {"fluxcd.controlplane.io/reconcile": "Disabled"}

    assert found.is_suspended


def test_inventory_leaves_out_what_nobody_can_read() -> None:
    found = kustomization("a", "shop_web_apps_Deployment", "nonsense")

    assert found.inventory == ((ObjectId("shop", "web", "apps", "Deployment"), "v1"),)


def test_dependencies_are_of_the_same_kind_and_namespace_by_default() -> None:
    spec = {"dependsOn": [{"name": "infra"}, {"name": "db", "namespace": "data"}]}

    assert kustomization("a", spec=spec).depends_on == (
        ref("Kustomization", "infra"),
        ref("Kustomization", "db", "data"),
    )


def test_nearest_owner_wins_where_an_object_has_several_labels() -> None:
    labels = {
        "fluxcd.controlplane.io/name": "flux",
        "fluxcd.controlplane.io/namespace": "flux-system",
        "helm.toolkit.fluxcd.io/name": "web",
        "helm.toolkit.fluxcd.io/namespace": "shop",
    }

    assert flux.owner({"labels": labels}, "home") == ref("HelmRelease", "web", "shop")
    assert flux.owner({}, "home") is None


def test_row_has_fluxs_words_for_what_waits() -> None:
    row = flux.row(kustomization("a", ready=None, lastAppliedRevision=""))

    assert (row.ready, row.message) == ("False", "waiting to be reconciled")
