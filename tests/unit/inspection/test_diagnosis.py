"""The way from an object to the first cause, where it leads through Flux objects alone.

What it asks a cluster for (workloads, pods, events) is tested on one; here nothing is asked, and a
walk that would ask fails.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from inspection import diagnosis, survey
from inspection.survey import Survey
from tests.support.fluxobjects import flux, git, kustomization

if TYPE_CHECKING:
    from inspection.diagnosis import Diagnosis
    from inspection.flux import FluxObject

NOW = dt.datetime(2026, 1, 2, 12, 0, 0, tzinfo=dt.UTC)
NOBODY: Any = None
"""In place of a client and a discovery, neither of which may be used."""


async def explained(obj: FluxObject, *others: FluxObject, **unread: str) -> Diagnosis:
    found = survey.of("home", [obj, *others])
    seen = Survey("home", found.objects, unread)
    return await diagnosis.Examiner(NOBODY, NOBODY, seen, NOW).explain(obj.raw)


def failing(name: str, message: str, reason: str = "BuildFailed", **more: Any) -> FluxObject:
    return kustomization(name, ready="False", reason=reason, message=message, **more)


def ids(found: Diagnosis) -> list[str]:
    return [link.id for link in found.chain]


APPS, FLEET = "Kustomization/flux-system/apps", "GitRepository/flux-system/fleet"


async def test_what_is_ready_has_no_cause() -> None:
    found = await explained(kustomization("apps"), git())

    assert (found.is_ready, found.cause, found.evidence) == (True, "none", ())
    assert found.summary == f"{APPS} is ready: Applied revision"


async def test_source_that_failed_is_the_cause_of_what_waits_for_it() -> None:
    message = "failed to checkout and determine revision: couldn't find remote ref"
    source = git(ready="False", reason="GitOperationFailed", message=message)
    found = await explained(failing("apps", "source is not ready", "ArtifactFailed"), source)

    assert (found.cause, found.at) == ("wrong-reference", FLEET)
    assert ids(found) == [APPS, FLEET]
    assert message in " ".join(found.evidence)
    assert found.remedies


async def test_source_that_failed_after_it_was_applied_is_told_too() -> None:
    source = git(ready="False", reason="AuthenticationFailed", message="authentication required")
    found = await explained(kustomization("apps"), source)

    assert (found.is_ready, found.cause, found.at) == (False, "bad-credentials", FLEET)


async def test_source_that_is_not_there_is_the_cause() -> None:
    found = await explained(failing("apps", "not found", "ArtifactFailed"))

    assert (found.cause, found.at) == ("source-missing", FLEET)
    assert found.chain[-1].state == "Missing"


async def test_source_that_may_not_be_listed_is_not_called_missing() -> None:
    found = await explained(failing("apps", "kustomize build failed: x"), GitRepository="forbidden")

    assert (found.cause, found.at) == ("build-error", APPS)


async def test_dependencies_are_followed_to_the_first_that_fails() -> None:
    objects = [
        failing(
            name,
            f"dependency 'flux-system/{needed}' is not ready",
            "DependencyNotReady",
            spec={"dependsOn": [{"name": "well"}, {"name": needed}]},
        )
        for name, needed in (("apps", "middle"), ("middle", "base"))
    ]
    base = failing("base", "kustomize build failed: accumulating resources")
    found = await explained(*objects, base, kustomization("well"), git())

    assert (found.cause, found.at) == ("build-error", "Kustomization/flux-system/base")
    assert [each.rpartition("/")[2] for each in ids(found)] == ["apps", "middle", "base"]


async def test_dependency_that_is_not_there_is_the_cause() -> None:
    waiting = failing(
        "apps",
        "dependency 'infra/base' not found",
        "DependencyNotReady",
        spec={"dependsOn": [{"name": "base", "namespace": "infra"}]},
    )
    found = await explained(waiting, git())

    assert (found.cause, found.at) == ("dependency-missing", "Kustomization/infra/base")


async def test_circle_of_dependencies_ends_the_walk() -> None:
    circle = [
        failing(
            name,
            f"dependency 'flux-system/{needed}' is not ready",
            "DependencyNotReady",
            spec={"dependsOn": [{"name": needed}]},
        )
        for name, needed in (("apps", "base"), ("base", "apps"))
    ]
    found = await explained(*circle, git())

    assert found.cause == "dependency-cycle"
    assert "waits for itself" in found.summary


async def test_suspended_object_is_told_with_who_did_it() -> None:
    held = kustomization("apps", spec={"suspend": True})
    annotations = {"fluxcd.controlplane.io/suspendedBy": "ada"}
    held.raw["metadata"]["annotations"] = annotations
    found = await explained(held, git())

    assert (found.is_ready, found.cause) == (False, "suspended")
    assert "suspended by ada" in found.evidence
    assert found.remedies == ("resume it when the reason for the suspension is gone",)


async def test_suspended_parent_is_the_cause_of_a_child_that_fails() -> None:
    parent = kustomization("parent", spec={"suspend": True})
    child = failing("apps", "kustomize build failed: x", owner="parent")
    found = await explained(child, parent, git())

    assert (found.cause, found.at) == ("suspended", "Kustomization/flux-system/parent")
    assert "a correction in Git does not arrive" in found.summary


async def test_suspended_parent_of_a_child_that_is_well_is_no_cause() -> None:
    parent = kustomization("parent", spec={"suspend": True})
    found = await explained(kustomization("apps", owner="parent"), parent, git())

    assert found.is_ready


async def test_object_that_nobody_reconciled_is_told_so() -> None:
    found = await explained(kustomization("apps", ready=None), git())

    assert found.cause == "not-reconciled"
    assert any("gitopsd status" in each for each in found.remedies)


async def test_object_in_progress_is_no_failure() -> None:
    busy = kustomization("apps", ready="Unknown", reason="Progressing", message="Reconciliation")
    found = await explained(busy, git())

    assert found.cause == "in-progress"


async def test_chart_lies_between_a_release_and_its_source() -> None:
    chart = flux(
        "HelmChart",
        "flux-system-web",
        {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "charts"}},
        ready="False",
        reason="InvalidChartReference",
        message="no 'web' chart with version matching '9.x' found",
    )
    repository = flux("HelmRepository", "charts", artifact={"revision": "sha256:1"})
    template = {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}}
    release = flux(
        "HelmRelease",
        "web",
        {"chart": template},
        ready="False",
        reason="SourceNotReady",
        helmChart="flux-system/flux-system-web",
    )
    found = await explained(release, chart, repository)

    assert found.at == "HelmChart/flux-system/flux-system-web"
    assert "9.x" in found.summary


async def test_credentials_in_messages_are_masked_everywhere() -> None:
    message = "cannot clone https://me:geheim@example.com/fleet.git: token=geheim"
    source = git(ready="False", reason="GitOperationFailed", message=message)
    found = await explained(failing("apps", message, "ArtifactFailed"), source)

    assert "geheim" not in repr(found)


async def test_long_messages_are_cut_and_told_in_one_line() -> None:
    found = await explained(failing("apps", f"kustomize build failed: {'x' * 5000}\nmore"), git())

    assert len(found.summary) < 800
    assert "\n" not in found.summary
    assert all(len(each) <= 600 for each in found.evidence)


async def test_object_of_another_kind_is_explained_by_who_applied_it() -> None:
    labels = {
        "kustomize.toolkit.fluxcd.io/name": "apps",
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    }
    metadata = {"name": "a", "namespace": "shop", "labels": labels}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    seen = survey.of("home", [failing("apps", "kustomize build failed: x"), git()])

    found = await diagnosis.Examiner(NOBODY, NOBODY, seen, NOW).explain(config_map)

    assert (found.object, found.cause) == ("ConfigMap/shop/a", "build-error")
    assert ids(found) == ["ConfigMap/shop/a", APPS]


@pytest.mark.parametrize("applier", [kustomization("apps"), kustomization("other")])
async def test_object_of_another_kind_that_is_well_is_ready(applier: FluxObject) -> None:
    metadata = {"name": "a", "namespace": "shop"}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    seen = survey.of("home", [applier, git()])

    found = await diagnosis.Examiner(NOBODY, NOBODY, seen, NOW).explain(config_map)

    assert found.is_ready


async def test_remote_objects_are_not_looked_for_in_this_cluster() -> None:
    remote = failing(
        "apps",
        "health check failed after 30s: timeout waiting for: "
        "[Deployment/shop/web status: 'InProgress']",
        "HealthCheckFailed",
        spec={"wait": True, "kubeConfig": {"secretRef": {"name": "far"}}},
    )
    found = await explained(remote, git())

    assert (found.cause, found.at) == ("failing-health", APPS)
