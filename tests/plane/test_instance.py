"""FluxInstances on a real API server: the sync pair, its readiness, drift, and the way out."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from api.bucket import Bucket
from api.instance import FluxInstance
from api.kustomize import Kustomization
from api.source import GitRepository
from devcluster.access import KubectlError
from kube import errors
from reconcilers.instance import InstanceReconciler
from runtime.errors import TerminalError, TransientError
from tests.support import reconciling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from api.meta import CustomObject
    from devcluster.access import Access
    from runtime.controller import Result
    from tests.support.reconciling import Desk

NAMESPACE = meta.NAMESPACE
SYNC = {
    "kind": "GitRepository",
    "url": "https://host/fleet.git",
    "ref": "refs/heads/main",
    "path": "k8s/",
    "pullSecret": "flux-system",
}
KINDS: tuple[type[CustomObject], ...] = (FluxInstance, Kustomization, GitRepository)
PAIR = (GitRepository, Kustomization)


class Bench:
    """A desk with one FluxInstance on it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.reconciler = InstanceReconciler(desk.context)

    async def create(
        self,
        *,
        sync: dict[str, Any] | None = SYNC,
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """Create the instance, or give it another spec."""
        base: dict[str, Any] = {
            "distribution": {"version": "2.x", "registry": "ghcr.io/fluxcd"},
            "components": ["source-controller", "kustomize-controller"],
        }
        metadata = {"name": "flux", "namespace": NAMESPACE, "annotations": annotations or {}}
        await self.desk.create(
            {
                "apiVersion": "fluxcd.controlplane.io/v1",
                "kind": "FluxInstance",
                "metadata": metadata,
                "spec": base | ({"sync": sync} if sync else {}) | spec,
            }
        )

    async def run(self) -> Result:
        """Reconcile the instance."""
        return await self.desk.reconcile(self.reconciler, NAMESPACE, "flux")

    async def live(self, kind: type[CustomObject] = FluxInstance) -> dict[str, Any]:
        """Read the instance, or one of its pair."""
        name = "flux" if kind is FluxInstance else NAMESPACE
        return await self.desk.live(kind, NAMESPACE, name)

    async def patch(self, kind: type[CustomObject], change: dict[str, Any]) -> None:
        """Change the instance, or one of its pair."""
        name = "flux" if kind is FluxInstance else NAMESPACE
        await self.desk.patch(kind, NAMESPACE, name, change)

    async def conditions(self) -> dict[str, tuple[str, str, str]]:
        """Return the instance's conditions."""
        return await self.desk.conditions(FluxInstance, NAMESPACE, "flux")

    async def make_ready(self) -> None:
        """Let the sync pair be ready, as its own reconcilers would."""
        for kind in PAIR:
            await self.answer(kind, "True", "applied")

    async def answer(self, kind: type[CustomObject], status: str, message: str) -> None:
        """Write the Ready condition of one of the pair."""
        condition = {
            "type": "Ready",
            "status": status,
            "reason": "Told",
            "message": message,
            "observedGeneration": (await self.live(kind))["metadata"]["generation"],
            "lastTransitionTime": "2026-11-23T00:00:00Z",
        }
        change = {"status": {"conditions": [condition]}}
        await self.desk.patch(kind, NAMESPACE, NAMESPACE, change, subresource="status")

    async def left(self, *kinds: type[CustomObject]) -> list[str]:
        """Return what is there of some kinds; by default of the pair's."""
        return await self.desk.names(NAMESPACE, *(kinds or PAIR))

    async def clear(self) -> None:
        """Remove what an earlier test left, finalizers or not."""
        for kind in KINDS:
            for found in await self.left(kind):
                name = found.partition("/")[2]
                with suppress(errors.NotFound):
                    await self.desk.patch(kind, NAMESPACE, name, {"metadata": {"finalizers": None}})
                    await self.desk.delete(kind, NAMESPACE, name)


@pytest.fixture
async def bench(cluster: Access, tmp_path: Path) -> AsyncIterator[Bench]:
    async with reconciling.running(cluster, tmp_path) as desk:
        each = Bench(desk)
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await desk.create(manifest)
        await each.clear()
        yield each
        await each.clear()


async def test_an_instance_creates_the_pair_that_the_operator_would(bench: Bench) -> None:
    await bench.create()
    await bench.run()
    source, kustomization = [await bench.live(kind) for kind in PAIR]
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


async def test_an_instance_that_wants_another_version_of_flux_stalls(bench: Bench) -> None:
    await bench.create(distribution={"version": "2.8.x", "registry": "ghcr.io/fluxcd"})
    with pytest.raises(TerminalError):
        await bench.run()
    found = await bench.conditions()
    text = f"build failed: no match found for semver: 2.8.x; {meta.FLUX_VERSION} is served"
    assert found["Ready"] == ("False", "BuildFailed", text)
    assert found["Stalled"] == ("True", "BuildFailed", text)
    assert not await bench.left()


async def test_a_multitenant_instance_creates_the_account_of_its_sync_and_takes_it_away(
    bench: Bench,
) -> None:
    await bench.create(cluster={"multitenant": True}, wait=False)
    await bench.run()
    kustomization = await bench.live(Kustomization)
    assert kustomization["spec"]["serviceAccountName"] == "kustomize-controller"
    await bench.run()  # finds both and leaves them alone
    events = [each.message for each in bench.desk.events if "kustomize-controller" in each.message]
    assert len(events) == 1
    who = "--as=system:serviceaccount:flux-system:kustomize-controller"
    ask = ("auth", "can-i", "create", "clusterroles", who)
    assert (await asyncio.to_thread(bench.desk.cluster.kubectl, *ask)).strip() == "yes"
    await bench.create(wait=False)
    await bench.run()
    assert "serviceAccountName" not in (await bench.live(Kustomization))["spec"]
    with pytest.raises(KubectlError):
        await asyncio.to_thread(bench.desk.cluster.kubectl, *ask)


async def test_an_instance_is_ready_when_its_pair_is(bench: Bench) -> None:
    await bench.create()
    result = await bench.run()
    assert result.requeue_after_s is not None
    assert result.requeue_after_s <= 300
    text = "GitRepository/flux-system/flux-system has not been reconciled yet"
    assert (await bench.conditions()) == {
        "Ready": ("Unknown", "Progressing", text),
        "Reconciling": ("True", "Progressing", text),
    }
    await bench.answer(GitRepository, "True", "stored")
    await bench.answer(Kustomization, "False", "kustomization path not found")
    await bench.run()
    assert (await bench.conditions())["Ready"][2] == (
        "Kustomization/flux-system/flux-system is not ready: kustomization path not found"
    )
    await bench.answer(Kustomization, "True", "applied")
    assert (await bench.run()).requeue_after_s == 3600
    found = await bench.conditions()
    assert list(found) == ["Ready"]
    assert found["Ready"][:2] == ("True", "ReconciliationSucceeded")
    assert found["Ready"][2].startswith("Reconciliation finished in ")


async def test_the_status_tells_components_revision_inventory_and_history(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    live = await bench.live()
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
    await bench.create()
    await bench.run()
    await bench.make_ready()
    await bench.run()
    bench.desk.events.clear()
    with bench.desk.counting() as counts:
        await bench.run()
    assert counts == {}
    assert not bench.desk.events


async def test_an_edit_of_the_pair_is_put_back(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    labels = {"app.kubernetes.io/part-of": None}
    edit = {"spec": {"path": "elsewhere/"}, "metadata": {"labels": labels}}
    await bench.patch(Kustomization, edit)
    bench.desk.events.clear()
    await bench.run()
    live = await bench.live(Kustomization)
    assert live["spec"]["path"] == "k8s/"
    assert live["metadata"]["labels"]["app.kubernetes.io/part-of"] == "flux"
    (event,) = bench.desk.events
    assert event.message.splitlines()[0].startswith("Corrected revision v")
    assert event.message.splitlines()[1:] == ["Kustomization/flux-system/flux-system configured"]


async def test_a_deleted_source_comes_back(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    await bench.desk.delete(GitRepository, NAMESPACE, NAMESPACE)
    await bench.run()
    assert (await bench.live(GitRepository))["spec"]["url"] == "https://host/fleet.git"


async def test_a_suspended_sync_stays_suspended(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    await bench.patch(Kustomization, {"spec": {"suspend": True}})
    with bench.desk.counting() as counts:
        await bench.run()
    assert counts == {}
    assert (await bench.live(Kustomization))["spec"]["suspend"] is True


async def test_a_sync_of_another_kind_takes_the_place_of_the_first(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    other = SYNC | {"kind": "Bucket", "url": "store.example", "ref": "fleet"}
    await bench.create(wait=False, sync=other)
    await bench.run()
    assert (await bench.live(Bucket))["spec"]["bucketName"] == "fleet"
    kustomization = await bench.live(Kustomization)
    assert kustomization["spec"]["sourceRef"]["kind"] == "Bucket"
    assert await bench.left(GitRepository) == []
    with bench.desk.counting() as counts:
        await bench.run()
    assert counts == {}


async def test_a_new_spec_is_an_upgrade(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    first = (await bench.live())["status"]["lastAppliedRevision"]
    await bench.create(
        wait=False, sync=SYNC | {"ref": "refs/heads/next"}, commonMetadata={"labels": {"team": "a"}}
    )
    bench.desk.events.clear()
    await bench.run()
    source = await bench.live(GitRepository)
    assert source["spec"]["ref"] == {"name": "refs/heads/next"}
    assert source["metadata"]["labels"]["team"] == "a"
    status = (await bench.live())["status"]
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
    await bench.desk.context.client.apply(
        reconciling.resource_of(GitRepository),
        json.dumps(bootstrapped).encode(),
        NAMESPACE,
        NAMESPACE,
        manager="kustomize-controller",
    )
    await bench.create(wait=False)
    await bench.run()
    source = await bench.live(GitRepository)
    assert source["spec"]["ref"] == {"name": "refs/heads/main"}, "the branch is gone"
    assert not labels.keys() & source["metadata"]["labels"].keys()
    assert [each["manager"] for each in source["metadata"]["managedFields"]] == ["flux-operator"]


async def test_a_pair_that_never_gets_ready_is_a_failure_that_can_heal(bench: Bench) -> None:
    await bench.create(annotations={"fluxcd.controlplane.io/reconcileTimeout": "1m"})
    await bench.run()
    await bench.answer(GitRepository, "False", "authentication required")
    bench.desk.clock.ahead_s += 61
    bench.desk.events.clear()
    for _ in range(2):
        with pytest.raises(TransientError):
            await bench.run()
    found = await bench.conditions()
    text = (
        "reconciliation failed: timeout waiting for: "
        "GitRepository/flux-system/flux-system is not ready: authentication required"
    )
    assert found["Ready"] == ("False", "ReconciliationFailed", text)
    assert found["Reconciling"][1] == "ProgressingWithRetry"
    assert [(each.severity, each.message) for each in bench.desk.events] == [("error", text)]
    await bench.make_ready()
    await bench.run()
    assert (await bench.conditions())["Ready"][0] == "True"


async def test_what_is_not_served_stalls_and_creates_nothing(bench: Bench) -> None:
    await bench.create(cluster={"tenantDefaultDecryptionServiceAccount": "a"})
    with pytest.raises(
        TerminalError, match=r"spec\.cluster\.tenantDefaultDecryptionServiceAccount"
    ):
        await bench.run()
    found = await bench.conditions()
    assert found["Stalled"][:2] == ("True", "FieldNotServed")
    assert found["Ready"][0] == "False"
    assert await bench.left() == []
    await bench.create(wait=False)
    await bench.run()
    assert list(await bench.conditions()) == ["Ready"]


async def test_an_instance_elsewhere_is_told_where_it_belongs(bench: Bench, namespace: str) -> None:
    await bench.desk.create(
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
    await bench.create(sync=None)
    await bench.run()
    assert (await bench.conditions())["Ready"][0] == "True"
    assert (await bench.live())["status"]["inventory"]["entries"] == []


async def test_a_sync_that_is_taken_out_is_deleted(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    await bench.patch(FluxInstance, {"spec": {"sync": None}})
    bench.desk.events.clear()
    await bench.run()
    assert await bench.left() == []
    assert bench.desk.events[-1].message.splitlines()[1:] == [
        "Kustomization/flux-system/flux-system deleted",
        "GitRepository/flux-system/flux-system deleted",
    ]


async def test_an_object_that_changed_hands_is_not_deleted(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    other = {"labels": {"fluxcd.controlplane.io/name": "other"}}
    kept = {"annotations": {"fluxcd.controlplane.io/prune": "disabled"}}
    await bench.patch(GitRepository, {"metadata": other})
    await bench.patch(Kustomization, {"metadata": kept})
    await bench.patch(FluxInstance, {"spec": {"sync": None}})
    await bench.run()
    assert len(await bench.left()) == 2


async def test_a_disabled_instance_rests(bench: Bench) -> None:
    await bench.create(annotations={"fluxcd.controlplane.io/reconcile": "Disabled"})
    assert (await bench.run()).requeue_after_s is None
    assert (await bench.conditions()) == {
        "Ready": ("True", "ReconciliationDisabled", "Initialized with reconciliation suspended")
    }
    assert [each.message for each in bench.desk.events] == ["Reconciliation is disabled"]
    assert await bench.left() == []


async def test_a_deleted_instance_leaves_the_workloads(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    for kind in PAIR:  # as their reconcilers do; nobody is there to run these
        await bench.patch(kind, {"metadata": {"finalizers": ["finalizers.fluxcd.io"]}})
    await bench.desk.delete(FluxInstance, NAMESPACE, "flux")
    await bench.run()
    assert await bench.left(*KINDS) == []


async def test_deleting_a_disabled_instance_leaves_the_pair(bench: Bench) -> None:
    await bench.create(wait=False)
    await bench.run()
    annotations = {"fluxcd.controlplane.io/reconcile": "disabled"}
    await bench.patch(FluxInstance, {"metadata": {"annotations": annotations}})
    await bench.desk.delete(FluxInstance, NAMESPACE, "flux")
    await bench.run()
    assert await bench.left(*KINDS) == ["Kustomization/flux-system", "GitRepository/flux-system"]


async def test_a_request_is_echoed(bench: Bench) -> None:
    await bench.create(wait=False, annotations={meta.REQUESTED_AT: "now"})
    await bench.run()
    assert (await bench.live())["status"]["lastHandledReconcileAt"] == "now"


async def test_the_interval_is_an_annotation(bench: Bench) -> None:
    await bench.create(wait=False, annotations={"fluxcd.controlplane.io/reconcileEvery": "5m"})
    assert (await bench.run()).requeue_after_s == 300
