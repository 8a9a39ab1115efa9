"""The fields that the flux CLI reads and waits for, as the daemon writes them.

Each test does by the API what one command of the CLI does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from bench import bed as beds
from devcluster.api import condition
from kube import health
from kube.objects import ObjectId
from runtime.clock import SystemClock
from tests.support import api
from tests.support.estate import config_map

if TYPE_CHECKING:
    from bench.bed import Bed
    from tests.support.estate import Object, Tenant

pytestmark = pytest.mark.leftovers("connections to the Git server live as long as the daemon")

_SOURCES = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{beds.NAMESPACE}/gitrepositories"
_REQUESTED = "reconcile.fluxcd.io/requestedAt"


@pytest.fixture
def shop(tenant: Tenant) -> Tenant:
    """A tenant with one Kustomization that is applied."""
    tenant.push({"web/a.yaml": config_map(tenant.name, "a", k="1")})
    tenant.kustomize("web", wait=True)
    tenant.until_applied("web")
    return tenant


def is_current(obj: Object | None) -> bool:
    """Whether kstatus says Current, which the CLI waits for."""
    return health.assess(obj or {}, SystemClock().now()).status is health.State.CURRENT


def source_of(bed: Bed, shop: Tenant) -> dict[str, Any]:
    return bed.api.get(f"{_SOURCES}/{shop.name}") or {}


def test_get_finds_revision_readiness_and_message(bed: Bed, shop: Tenant) -> None:
    item, source = shop.get("web"), source_of(bed, shop)

    assert re.fullmatch(r"main@sha1:[0-9a-f]{40}", item["status"]["lastAppliedRevision"])
    assert item["status"]["lastAppliedRevision"] == source["status"]["artifact"]["revision"]
    for obj in (item, source):
        ready = condition(obj)
        assert ready["status"] == "True"
        assert ready["message"]
        assert not obj["spec"].get("suspend")


def test_reconcile_waits_for_a_handled_request_and_kstatus(bed: Bed, shop: Tenant) -> None:
    for path in (f"{_SOURCES}/{shop.name}", bed.kustomization(shop.kustomization("web"))):
        before = (bed.api.get(path) or {})["status"].get("lastHandledReconcileAt", "")
        token = "2026-01-02T15:04:05.999999999+01:00"
        bed.api.patch(path, {"metadata": {"annotations": {_REQUESTED: token}}})

        def is_done(obj: Object | None, before: str = before) -> bool:
            handled = (obj or {}).get("status", {}).get("lastHandledReconcileAt", "")
            return handled != before and is_current(obj)

        done = bed.api.wait(path, is_done, api.WAIT_S) or {}
        assert done["status"]["lastHandledReconcileAt"] == token


def test_resume_waits_for_each_conditions_generation(bed: Bed, shop: Tenant) -> None:
    shop.patch("web", {"suspend": True})
    shop.patch("web", {"suspend": None})

    def is_resumed(obj: Object | None) -> bool:
        found = obj or {}
        generation = found["metadata"]["generation"]
        is_observed = found["status"].get("observedGeneration", 0) >= 1
        return is_observed and bool(condition(obj)["observedGeneration"] == generation)

    done = shop.until("web", lambda obj: is_resumed(obj) and is_current(obj))
    assert condition(done)["status"] == "True"


def test_tree_parses_the_inventory(shop: Tenant) -> None:
    (entry,) = shop.get("web")["status"]["inventory"]["entries"]

    assert ObjectId.parse(entry["id"]) == ObjectId(shop.name, "a", "", "ConfigMap")
    assert entry["v"] == "v1"


def test_trace_follows_the_owner_labels(bed: Bed, shop: Tenant) -> None:
    labels = (shop.live("a") or {})["metadata"]["labels"]

    assert labels["kustomize.toolkit.fluxcd.io/name"] == shop.kustomization("web")
    assert labels["kustomize.toolkit.fluxcd.io/namespace"] == beds.NAMESPACE
    ready = condition(source_of(bed, shop))
    assert ready["lastTransitionTime"]
    assert shop.get("web")["spec"]["sourceRef"]["name"] == shop.name


def test_events_name_the_object_they_are_about(bed: Bed, shop: Tenant) -> None:
    shop.until_told("web", "ReconciliationSucceeded", "")
    (event, *_) = shop.events("web", "ReconciliationSucceeded")
    involved = event["involvedObject"]

    assert (involved["kind"], involved["namespace"]) == ("Kustomization", beds.NAMESPACE)
    assert involved["name"] == shop.kustomization("web")
    assert involved["apiVersion"] == "kustomize.toolkit.fluxcd.io/v1"
    assert bed.api.get(f"{_SOURCES}/{shop.name}")


def test_stats_add_up_the_artifacts_sizes(bed: Bed, shop: Tenant) -> None:
    artifact = source_of(bed, shop)["status"]["artifact"]

    assert isinstance(artifact["size"], int)
    assert artifact["size"] > 0
    assert artifact["digest"].startswith("sha256:")
    assert artifact["url"].endswith(artifact["path"])


def test_debug_reads_the_history(shop: Tenant) -> None:
    (newest, *_) = shop.get("web")["status"]["history"]

    assert newest["lastReconciledStatus"] == "ReconciliationSucceeded"
    assert newest["metadata"]["revision"] == shop.get("web")["status"]["lastAppliedRevision"]
    assert newest["totalReconciliations"] >= 1
