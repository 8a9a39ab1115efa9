"""FluxInstances on a real API server: the sync pair, its readiness, drift, and the way out."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from devcluster.access import KubectlError
from reconcilers.instance import InstanceReconciler
from runtime.errors import TerminalError, TransientError
from tests.support import reconciling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from runtime.controller import Result
    from tests.support.reconciling import Desk

NAMESPACE = meta.NAMESPACE
SOURCE, KUSTOMIZATION = (
    ("gitrepository", NAMESPACE, NAMESPACE),
    ("kustomization", NAMESPACE, NAMESPACE),
)
SYNC = {
    "kind": "GitRepository",
    "url": "https://host/fleet.git",
    "ref": "refs/heads/main",
    "path": "k8s/",
    "pullSecret": "flux-system",
}
PLURALS = ("fluxinstances", "kustomizations", "gitrepositories")


class Bench:
    """A desk with one FluxInstance on it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.reconciler = InstanceReconciler(desk.context)

    def create(
        self,
        *,
        sync: dict[str, Any] | None = SYNC,
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> None:
        base: dict[str, Any] = {
            "distribution": {"version": "2.x", "registry": "ghcr.io/fluxcd"},
            "components": ["source-controller", "kustomize-controller"],
        }
        if sync:
            base["sync"] = sync
        self.desk.create(
            {
                "apiVersion": "fluxcd.controlplane.io/v1",
                "kind": "FluxInstance",
                "metadata": {
                    "name": "flux",
                    "namespace": NAMESPACE,
                    "annotations": annotations or {},
                },
                "spec": base | spec,
            }
        )

    async def run(self) -> Result:
        return await self.desk.reconcile(self.reconciler, NAMESPACE, "flux")

    def live(self) -> dict[str, Any]:
        return self.desk.live("fluxinstance", NAMESPACE, "flux")

    def conditions(self) -> dict[str, tuple[str, str, str]]:
        return self.desk.conditions("fluxinstance", NAMESPACE, "flux")

    def make_ready(self, *kinds: str) -> None:
        """Let the sync pair be ready, as its own reconcilers would."""
        for kind in kinds or ("gitrepository", "kustomization"):
            self.answer(kind, "True", "applied")

    def answer(self, kind: str, status: str, message: str) -> None:
        generation = self.desk.live(kind, NAMESPACE, NAMESPACE)["metadata"]["generation"]
        condition = {
            "type": "Ready",
            "status": status,
            "reason": "Told",
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": "2026-11-23T00:00:00Z",
        }
        self.desk.patch_status(kind, NAMESPACE, NAMESPACE, {"conditions": [condition]})


@pytest.fixture
async def bench(cluster: Access, tmp_path: Path) -> AsyncIterator[Bench]:
    async with reconciling.running(cluster, tmp_path) as desk:
        _clear(cluster)
        with suppress(KubectlError):  # it is there
            cluster.kubectl("create", "namespace", NAMESPACE)
        yield Bench(desk)
        _clear(cluster)


def _clear(cluster: Access) -> None:
    """Remove what an earlier test left, finalizers or not."""
    for plural in PLURALS:
        names = cluster.kubectl("get", plural, "-n", NAMESPACE, "-o", "name").split()
        for name in names:
            patch = '{"metadata": {"finalizers": null}}'
            cluster.kubectl("patch", name, "-n", NAMESPACE, "--type=merge", "-p", patch)
            cluster.kubectl("delete", name, "-n", NAMESPACE, "--ignore-not-found")


async def test_an_instance_creates_the_pair_that_the_operator_would(bench: Bench) -> None:
    bench.create()
    await bench.run()
    source, kustomization = bench.desk.live(*SOURCE), bench.desk.live(*KUSTOMIZATION)
    assert source["spec"] == {
        "url": "https://host/fleet.git",
        "interval": "1m",
        "ref": {"name": "refs/heads/main"},
        "secretRef": {"name": "flux-system"},
        "timeout": "60s",
    }
    assert kustomization["spec"] == {
        "interval": "10m0s",
        "path": "k8s/",
        "prune": True,
        "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
    }
    for obj in (source, kustomization):
        assert obj["metadata"]["labels"] == {
            "fluxcd.controlplane.io/name": "flux",
            "fluxcd.controlplane.io/namespace": "flux-system",
            "app.kubernetes.io/instance": "flux-system",
            "app.kubernetes.io/managed-by": "flux-operator",
            "app.kubernetes.io/part-of": "flux",
            "app.kubernetes.io/version": meta.FLUX_VERSION,
        }
        assert obj["metadata"]["annotations"] == {
            "kustomize.toolkit.fluxcd.io/ssa": "Ignore",
            "kustomize.toolkit.fluxcd.io/prune": "Disabled",
        }
        (entry,) = obj["metadata"]["managedFields"]
        assert (entry["manager"], entry["operation"]) == ("flux-operator", "Apply")


async def test_an_instance_is_ready_when_its_pair_is(bench: Bench) -> None:
    bench.create()
    result = await bench.run()
    assert result.requeue_after_s is not None
    assert result.requeue_after_s <= 300
    text = "GitRepository/flux-system/flux-system has not been reconciled yet"
    assert bench.conditions() == {
        "Ready": ("Unknown", "Progressing", text),
        "Reconciling": ("True", "Progressing", text),
    }
    bench.make_ready("gitrepository")
    bench.answer("kustomization", "False", "kustomization path not found")
    await bench.run()
    assert bench.conditions()["Ready"][2] == (
        "Kustomization/flux-system/flux-system is not ready: kustomization path not found"
    )
    bench.make_ready("kustomization")
    assert (await bench.run()).requeue_after_s == 3600
    found = bench.conditions()
    assert list(found) == ["Ready"]
    assert found["Ready"][:2] == ("True", "ReconciliationSucceeded")
    assert found["Ready"][2].startswith("Reconciliation finished in ")


async def test_the_status_tells_components_revision_inventory_and_history(bench: Bench) -> None:
    bench.create(wait=False)
    await bench.run()
    live = bench.live()
    status = live["status"]
    assert live["metadata"]["finalizers"] == ["fluxcd.controlplane.io/finalizer"]
    assert [each["name"] for each in status["components"]] == [
        "kustomize-controller",
        "source-controller",
    ]
    assert {each["repository"] for each in status["components"]} == {"gitopsd"}
    assert status["inventory"]["entries"] == [
        {"id": "flux-system_flux-system_source.toolkit.fluxcd.io_GitRepository", "v": "v1"},
        {"id": "flux-system_flux-system_kustomize.toolkit.fluxcd.io_Kustomization", "v": "v1"},
    ]
    revision = status["lastAppliedRevision"]
    version, digest = revision.split("@")
    assert version.startswith("v")
    assert digest.startswith("sha256:")
    assert status["lastAttemptedRevision"] == revision
    (snapshot,) = status["history"]
    assert snapshot["digest"] == digest
    assert snapshot["lastReconciledStatus"] == "ReconciliationSucceeded"
    assert snapshot["totalReconciliations"] == 1
    assert [(each.reason, each.message.splitlines()[0]) for each in bench.desk.events] == [
        ("Progressing", f"Installing revision {revision}"),
        ("ReconciliationSucceeded", f"Applied revision {revision}"),
    ]
    assert bench.desk.events[-1].message.splitlines()[1:] == [
        "GitRepository/flux-system/flux-system created",
        "Kustomization/flux-system/flux-system created",
    ]
    assert dict(bench.desk.events[-1].metadata) == {"fluxcd.controlplane.io/revision": revision}


async def test_a_run_that_finds_everything_in_place_sends_nothing(bench: Bench) -> None:
    bench.create()
    await bench.run()
    bench.make_ready()
    await bench.run()
    bench.desk.events.clear()
    with bench.desk.counting() as counts:
        await bench.run()
    assert counts == {}
    assert not bench.desk.events


async def test_an_edit_of_the_pair_is_put_back(bench: Bench) -> None:
    bench.create(wait=False)
    await bench.run()
    kubectl = bench.desk.cluster.kubectl
    patch = json.dumps(
        {
            "spec": {"path": "elsewhere/"},
            "metadata": {"labels": {"app.kubernetes.io/part-of": None}},
        }
    )
    kubectl("patch", "kustomization", NAMESPACE, "-n", NAMESPACE, "--type=merge", "-p", patch)
    bench.desk.events.clear()
    await bench.run()
    live = bench.desk.live(*KUSTOMIZATION)
    assert live["spec"]["path"] == "k8s/"
    assert live["metadata"]["labels"]["app.kubernetes.io/part-of"] == "flux"
    (event,) = bench.desk.events
    assert event.message.splitlines()[0].startswith("Corrected revision v")
    assert event.message.splitlines()[1:] == ["Kustomization/flux-system/flux-system configured"]


async def test_a_deleted_source_comes_back(bench: Bench) -> None:
    bench.create(wait=False)
    await bench.run()
    bench.desk.cluster.kubectl("delete", "gitrepository", NAMESPACE, "-n", NAMESPACE)
    await bench.run()
    assert bench.desk.live(*SOURCE)["spec"]["url"] == "https://host/fleet.git"


async def test_a_suspended_sync_stays_suspended(bench: Bench) -> None:
    bench.create(wait=False)
    await bench.run()
    kubectl = bench.desk.cluster.kubectl
    patch = '{"spec": {"suspend": true}}'
    kubectl(
        "patch",
        "kustomization",
        NAMESPACE,
        "-n",
        NAMESPACE,
        "--type=merge",
        "-p",
        patch,
        "--field-manager=flux",
    )
    with bench.desk.counting() as counts:
        await bench.run()
    assert counts == {}
    assert bench.desk.live(*KUSTOMIZATION)["spec"]["suspend"] is True


async def test_a_new_spec_is_an_upgrade(bench: Bench) -> None:
    bench.create(wait=False)
    await bench.run()
    first = bench.live()["status"]["lastAppliedRevision"]
    bench.create(
        wait=False, sync=SYNC | {"ref": "refs/heads/next"}, commonMetadata={"labels": {"team": "a"}}
    )
    bench.desk.events.clear()
    await bench.run()
    source = bench.desk.live(*SOURCE)
    assert source["spec"]["ref"] == {"name": "refs/heads/next"}
    assert source["metadata"]["labels"]["team"] == "a"
    status = bench.live()["status"]
    assert status["lastAppliedRevision"] != first
    assert len(status["history"]) == 2
    assert bench.desk.events[0].message == f"Upgrading to revision {status['lastAppliedRevision']}"


async def test_what_a_bootstrap_left_is_taken_over(bench: Bench) -> None:
    labels = {
        "kustomize.toolkit.fluxcd.io/name": NAMESPACE,
        "kustomize.toolkit.fluxcd.io/namespace": NAMESPACE,
    }
    bootstrapped = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": NAMESPACE, "namespace": NAMESPACE, "labels": labels},
        "spec": {"url": "ssh://git@host/fleet.git", "interval": "1m0s", "ref": {"branch": "main"}},
    }
    bench.desk.cluster.kubectl(
        "apply", "--server-side", "--field-manager=kustomize-controller", "-f", "-",
        input=json.dumps(bootstrapped),
    )  # fmt: skip
    bench.create(wait=False)
    await bench.run()
    source = bench.desk.live(*SOURCE)
    assert source["spec"]["ref"] == {"name": "refs/heads/main"}, "the branch is gone"
    assert not labels.keys() & source["metadata"]["labels"].keys()
    assert [each["manager"] for each in source["metadata"]["managedFields"]] == ["flux-operator"]


async def test_a_pair_that_never_gets_ready_is_a_failure_that_can_heal(bench: Bench) -> None:
    bench.create(annotations={"fluxcd.controlplane.io/reconcileTimeout": "1m"})
    await bench.run()
    bench.answer("gitrepository", "False", "authentication required")
    bench.desk.clock.ahead_s += 61
    bench.desk.events.clear()
    for _ in range(2):
        with pytest.raises(TransientError):
            await bench.run()
    found = bench.conditions()
    text = (
        "reconciliation failed: timeout waiting for: "
        "GitRepository/flux-system/flux-system is not ready: authentication required"
    )
    assert found["Ready"] == ("False", "ReconciliationFailed", text)
    assert found["Reconciling"][1] == "ProgressingWithRetry"
    assert [(each.severity, each.message) for each in bench.desk.events] == [("error", text)]
    bench.make_ready()
    await bench.run()
    assert bench.conditions()["Ready"][0] == "True"


async def test_what_is_not_served_stalls_and_creates_nothing(bench: Bench) -> None:
    bench.create(cluster={"multitenant": True})
    with pytest.raises(TerminalError, match=r"spec\.cluster\.multitenant"):
        await bench.run()
    found = bench.conditions()
    assert found["Stalled"][:2] == ("True", "FieldNotServed")
    assert found["Ready"][0] == "False"
    assert bench.desk.cluster.kubectl("get", "gitrepositories", "-n", NAMESPACE, "-o", "name") == ""
    bench.create(wait=False)
    await bench.run()
    assert list(bench.conditions()) == ["Ready"]


async def test_an_instance_elsewhere_is_told_where_it_belongs(bench: Bench, namespace: str) -> None:
    bench.desk.create(
        {
            "apiVersion": "fluxcd.controlplane.io/v1",
            "kind": "FluxInstance",
            "metadata": {"name": "flux", "namespace": namespace},
            "spec": {"distribution": {"version": "2.x", "registry": "r"}},
        }
    )
    with pytest.raises(TerminalError, match="must be in namespace flux-system"):
        await bench.desk.reconcile(bench.reconciler, namespace, "flux")


async def test_without_a_sync_there_is_nothing_to_create(bench: Bench) -> None:
    bench.create(sync=None)
    await bench.run()
    assert bench.conditions()["Ready"][0] == "True"
    assert bench.live()["status"]["inventory"]["entries"] == []


async def test_a_sync_that_is_taken_out_is_deleted(bench: Bench) -> None:
    bench.create(wait=False)
    await bench.run()
    kubectl = bench.desk.cluster.kubectl
    kubectl(
        "patch",
        "fluxinstance",
        "flux",
        "-n",
        NAMESPACE,
        "--type=json",
        "-p",
        '[{"op": "remove", "path": "/spec/sync"}]',
    )
    bench.desk.events.clear()
    await bench.run()
    assert kubectl("get", "gitrepositories,kustomizations", "-n", NAMESPACE, "-o", "name") == ""
    assert bench.desk.events[-1].message.splitlines()[1:] == [
        "Kustomization/flux-system/flux-system deleted",
        "GitRepository/flux-system/flux-system deleted",
    ]


async def test_an_object_that_changed_hands_is_not_deleted(bench: Bench) -> None:
    bench.create(wait=False)
    await bench.run()
    kubectl = bench.desk.cluster.kubectl
    kubectl(
        "label",
        "gitrepository",
        NAMESPACE,
        "-n",
        NAMESPACE,
        "--overwrite",
        "fluxcd.controlplane.io/name=other",
    )
    kubectl(
        "annotate",
        "kustomization",
        NAMESPACE,
        "-n",
        NAMESPACE,
        "fluxcd.controlplane.io/prune=disabled",
    )
    kubectl(
        "patch",
        "fluxinstance",
        "flux",
        "-n",
        NAMESPACE,
        "--type=json",
        "-p",
        '[{"op": "remove", "path": "/spec/sync"}]',
    )
    await bench.run()
    left = kubectl("get", "gitrepositories,kustomizations", "-n", NAMESPACE, "-o", "name").split()
    assert len(left) == 2


async def test_a_disabled_instance_rests(bench: Bench) -> None:
    bench.create(annotations={"fluxcd.controlplane.io/reconcile": "Disabled"})
    assert (await bench.run()).requeue_after_s is None
    assert bench.conditions() == {
        "Ready": ("True", "ReconciliationDisabled", "Initialized with reconciliation suspended")
    }
    assert [each.message for each in bench.desk.events] == ["Reconciliation is disabled"]
    assert bench.desk.cluster.kubectl("get", "gitrepositories", "-n", NAMESPACE, "-o", "name") == ""


async def test_a_deleted_instance_leaves_the_workloads(bench: Bench) -> None:
    bench.create(wait=False)
    await bench.run()
    kubectl = bench.desk.cluster.kubectl
    finalizer = '{"metadata": {"finalizers": ["finalizers.fluxcd.io"]}}'
    for kind in ("gitrepository", "kustomization"):
        kubectl("patch", kind, NAMESPACE, "-n", NAMESPACE, "--type=merge", "-p", finalizer)
    kubectl("delete", "fluxinstance", "flux", "-n", NAMESPACE, "--wait=false")
    await bench.run()
    kinds = "fluxinstances,gitrepositories,kustomizations"
    assert kubectl("get", kinds, "-n", NAMESPACE, "-o", "name") == ""


async def test_deleting_a_disabled_instance_leaves_the_pair(bench: Bench) -> None:
    bench.create(wait=False)
    await bench.run()
    kubectl = bench.desk.cluster.kubectl
    kubectl(
        "annotate",
        "fluxinstance",
        "flux",
        "-n",
        NAMESPACE,
        "fluxcd.controlplane.io/reconcile=disabled",
    )
    kubectl("delete", "fluxinstance", "flux", "-n", NAMESPACE, "--wait=false")
    await bench.run()
    kinds = "fluxinstances,gitrepositories,kustomizations"
    assert len(kubectl("get", kinds, "-n", NAMESPACE, "-o", "name").split()) == 2


async def test_a_request_is_echoed(bench: Bench) -> None:
    bench.create(wait=False, annotations={meta.REQUESTED_AT: "now"})
    await bench.run()
    assert bench.live()["status"]["lastHandledReconcileAt"] == "now"


async def test_the_interval_is_an_annotation(bench: Bench) -> None:
    bench.create(wait=False, annotations={"fluxcd.controlplane.io/reconcileEvery": "5m"})
    assert (await bench.run()).requeue_after_s == 300
