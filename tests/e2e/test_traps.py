"""What an engine that watches its own objects could trip over, through the whole daemon."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from bench.fixtures import Fixture, dump
from devcluster import accounting
from tests.support import estate
from tests.support.estate import config_map, metric, says

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.bed import Bed
    from tests.support.estate import Object, Tenant

pytestmark = pytest.mark.leftovers("connections to the Git server live as long as the daemon")

MANY = 1000
MANAGER = "kustomize-controller"
APPLY = "application/apply-patch+yaml"
OWNER = "kustomize.toolkit.fluxcd.io/name"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
REQUESTED = "reconcile.fluxcd.io/requestedAt"


def reconciles(bed: Bed) -> float:
    """Return how many reconciles of Kustomizations there were."""
    return metric(bed.daemon, "controller_runtime_reconcile_total", controller="kustomization")


def corrections(bed: Bed) -> float:
    """Return how many drifts were corrected."""
    return metric(bed.daemon, "gitopsd_drift_corrections_total")


def managed(bed: Bed) -> int:
    """Return how many requests about managed objects there were since the last time."""
    return accounting.managed(bed.count())


def test_apply_of_many_objects_is_one_reconcile_and_no_correction(bed: Bed, tenant: Tenant) -> None:
    fixture = Fixture(tenant.name, MANY)
    tenant.push(fixture.files())
    estate.until(tenant.is_fetched, "the source at its new revision")
    before = reconciles(bed)
    tenant.kustomize("objects")
    tenant.until_applied("objects")
    bed.count()
    assert reconciles(bed) - before == 1
    assert corrections(bed) == 0
    assert len(tenant.inventory("objects")) == MANY


@pytest.fixture
def deployed(tenant: Tenant) -> Tenant:
    """A tenant with a Deployment that leaves its replicas to others."""
    tenant.push({"web/web.yaml": dump(_deployment(tenant.name))})
    tenant.kustomize("web")
    tenant.until_applied("web")
    return tenant


def test_scaling_a_field_that_git_leaves_alone_costs_nothing(bed: Bed, deployed: Tenant) -> None:
    path = _web(deployed)
    bed.count()
    for number in range(50):
        bed.api.patch(f"{path}/scale", {"spec": {"replicas": number % 2}})
    bed.api.patch(f"{path}/scale", {"spec": {"replicas": 3}})
    assert managed(bed) == 0
    assert (bed.api.get(path) or {})["spec"]["replicas"] == 3


def test_rollout_restart_is_not_undone_at_once(bed: Bed, deployed: Tenant) -> None:
    bed.count()
    restart = ("rollout", "restart", "deployment/web", "-n", deployed.name)
    assert bed.cluster
    bed.cluster.kubectl(*restart)
    assert managed(bed) == 0
    template = (bed.api.get(_web(deployed)) or {})["spec"]["template"]
    assert RESTARTED in template["metadata"]["annotations"]


def test_request_annotated_on_a_child_is_answered_and_not_undone(bed: Bed, tenant: Tenant) -> None:
    child = f"{tenant.name}-child"
    manifest = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": child, "namespace": "bench"},
        "spec": {
            "interval": "1h",
            "prune": True,
            "path": "./leaf",
            "sourceRef": {"kind": "GitRepository", "name": tenant.name},
        },
    }
    leaf = config_map(tenant.name, "leaf")
    tenant.push({"parent/child.yaml": dump(manifest), "leaf/a.yaml": leaf})
    tenant.kustomize("parent")
    bed.wait_ready(child, tenant.repo.head)
    tenant.until_applied("parent")
    bed.count()
    token = bed.request(child)
    bed.wait_handled(child, token)
    counts = bed.count()
    annotations = (bed.api.get(bed.kustomization(child)) or {})["metadata"]["annotations"]
    assert annotations[REQUESTED] == token
    assert accounting.Kind("patch", "kustomizations") not in counts


@pytest.fixture
def kept(tenant: Tenant) -> Tenant:
    """A tenant with a ConfigMap."""
    tenant.push({"web/a.yaml": config_map(tenant.name, "a", colour="blue", size="small")})
    tenant.kustomize("web")
    tenant.until_applied("web")
    return tenant


@pytest.mark.parametrize("data", [{"colour": "red", "size": "small"}, {"colour": "blue"}])
def test_foreign_apply_under_our_managers_name_is_corrected(
    bed: Bed, kept: Tenant, data: dict[str, str]
) -> None:
    live = kept.live("a") or {}
    estate.until(lambda: _is_past(live), "the next second, which is how fine their times are")
    forged = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {key: live["metadata"][key] for key in ("name", "namespace", "labels")},
        "data": data,
    }
    path = f"{kept.object('a')}?fieldManager={MANAGER}&force=true"
    assert says(**data)(bed.api.patch(path, forged, APPLY))
    kept.until_live("a", says(colour="blue", size="small"))
    kept.until_told("web", "DriftCorrected", f"ConfigMap/{kept.name}/a was edited")


@pytest.mark.parametrize("label", [OWNER, "kustomize.toolkit.fluxcd.io/namespace"])
def test_lost_label_is_put_back(bed: Bed, kept: Tenant, label: str) -> None:
    wanted = (kept.live("a") or {})["metadata"]["labels"]
    bed.api.patch(kept.object("a"), {"metadata": {"labels": {label: None}}})
    kept.until_live("a", _labelled(wanted))
    bed.api.patch(kept.object("a"), {"metadata": {"labels": None}})
    kept.until_live("a", _labelled(wanted))


def test_fight_over_a_field_backs_off_and_is_told_once(bed: Bed, kept: Tenant) -> None:
    before, took = corrections(bed), []
    for number in range(5):
        path = f"{kept.object('a')}?fieldManager=rival"
        bed.api.patch(path, {"data": {"colour": f"red {number}"}})
        start = time.monotonic()
        kept.until_live("a", says(colour="blue"))
        took.append(time.monotonic() - start)
    assert took[3] >= 1.0
    assert took[4] >= 2.0
    estate.until(lambda: corrections(bed) - before == 5, "five corrections")
    kept.until_told("web", "DriftCorrected", "keep changing it")
    events = kept.events("web", "DriftCorrected")
    news = [each for each in events if "keep changing it" in each["message"]]
    assert len(news) == 1
    assert "by rival" in news[0]["message"]
    assert news[0].get("count", 1) == 1


def _web(tenant: Tenant) -> str:
    return f"/apis/apps/v1/namespaces/{tenant.name}/deployments/web"


def _is_past(obj: Object) -> bool:
    """Whether the second of an object's last write is over."""
    times = [entry["time"] for entry in obj["metadata"]["managedFields"]]
    return dt.datetime.now(dt.UTC) > dt.datetime.fromisoformat(max(times)) + dt.timedelta(seconds=1)


def _labelled(wanted: dict[str, str]) -> Callable[[Object | None], bool]:
    return lambda obj: wanted == (obj or {})["metadata"].get("labels")


def _deployment(namespace: str) -> dict[str, Any]:
    text = """{
      "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
      "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
          "metadata": {"labels": {"app": "web"}},
          "spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]}
        }
      }
    }"""
    found: dict[str, Any] = json.loads(text)
    found["metadata"]["namespace"] = namespace
    return found
