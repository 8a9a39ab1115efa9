"""What a FluxInstance switches on, what it creates, and which events concern it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from api import meta
from api.instance import DEFAULT_COMPONENTS, FluxInstance
from api.kustomize import Kustomization
from api.source import GitRepository
from reconcilers import instance
from reconcilers.context import ReconcileSettings
from reconcilers.instance import outcome, scope, sync

SYNC = {"kind": "GitRepository", "url": "https://h/r", "ref": "refs/heads/main", "path": "./"}
NOW = dt.datetime(2026, 11, 23, 7, 0, tzinfo=dt.UTC)


def flux(metadata: dict[str, Any] | None = None, **spec: Any) -> FluxInstance:
    base = {"distribution": {"version": "2.x", "registry": "r"}, "sync": SYNC}
    meta_ = {"name": "flux", "namespace": "flux-system", "uid": "u", "generation": 1}
    return msgspec.convert(
        {"metadata": meta_ | (metadata or {}), "spec": base | spec}, FluxInstance
    )


def live(manifest: dict[str, Any], change: dict[str, Any] | None = None) -> Kustomization:
    return msgspec.convert(manifest | (change or {}), Kustomization)


def test_a_cluster_without_an_instance_gets_the_default_components() -> None:
    assert instance.components(None) == frozenset(DEFAULT_COMPONENTS)
    assert instance.components(flux()) == frozenset(DEFAULT_COMPONENTS)


def test_components_switch_reconcilers() -> None:
    assert instance.components(flux(components=["source-controller"])) == {"source-controller"}


@pytest.mark.parametrize(
    "switch",
    [{"multitenantWorkloadIdentity": True}, {"tenantDefaultDecryptionServiceAccount": "a"}],
)
def test_tenants_that_cannot_be_kept_apart_are_not_served_at_all(switch: dict[str, Any]) -> None:
    assert instance.components(flux(cluster=switch)) == frozenset()


def test_multitenancy_locks_references_bases_and_identity() -> None:
    locked = instance.locked(ReconcileSettings(), flux(cluster={"multitenant": True}))
    assert locked == ReconcileSettings(
        no_cross_namespace_refs=True, allow_remote_bases=False, default_service_account="default"
    )
    named = {"multitenant": True, "tenantDefaultServiceAccount": "deployer"}
    found = instance.locked(ReconcileSettings(), flux(cluster=named))
    assert found.default_service_account == "deployer"


def test_an_instance_tightens_the_settings_of_the_machine_and_never_loosens_them() -> None:
    strict = ReconcileSettings(no_cross_namespace_refs=True, default_service_account="mine")
    assert instance.locked(strict, None) is strict
    assert instance.locked(strict, flux(cluster={"multitenant": False})) is strict
    named = {"multitenant": True, "tenantDefaultServiceAccount": "theirs"}
    assert instance.locked(strict, flux(cluster=named)).default_service_account == "mine"


def test_a_default_account_alone_is_no_multitenancy_as_in_the_operator() -> None:
    only = flux(cluster={"tenantDefaultServiceAccount": "a"})
    assert instance.locked(ReconcileSettings(), only) == ReconcileSettings()


def test_multitenant_sync_acts_as_the_account_that_flux_installs() -> None:
    account, binding, _, kustomization = sync.manifests(flux(cluster={"multitenant": True}))
    assert kustomization["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "kustomize-controller", "namespace": "flux-system"}
    ]
    assert binding["roleRef"]["name"] == "cluster-admin"
    assert "serviceAccountName" not in sync.manifests(flux())[-1]["spec"]


@pytest.mark.parametrize(
    ("value", "is_disabled"), [("disabled", True), ("DISABLED", True), ("enabled", False)]
)
def test_the_switch_is_read_in_any_case(value: str, *, is_disabled: bool) -> None:
    annotations = {"fluxcd.controlplane.io/reconcile": value}
    assert scope.is_disabled(flux({"annotations": annotations})) is is_disabled


def test_the_pair_is_named_after_the_namespace_or_the_sync() -> None:
    assert [each["metadata"]["name"] for each in sync.manifests(flux())] == ["flux-system"] * 2
    named = sync.manifests(flux(sync=SYNC | {"name": "fleet"}))
    assert [each["metadata"]["name"] for each in named] == ["fleet"] * 2
    assert named[1]["spec"]["sourceRef"] == {"kind": "GitRepository", "name": "fleet"}


def test_common_metadata_wins() -> None:
    common = {"labels": {meta.PART_OF: "mine"}, "annotations": {"a": "b"}}
    metadata = sync.manifests(flux(commonMetadata=common))[0]["metadata"]
    assert metadata["labels"][meta.PART_OF] == "mine"
    assert metadata["annotations"]["a"] == "b"


def test_a_revision_changes_with_what_is_created_or_switched_and_nothing_else() -> None:
    def revision(one: FluxInstance) -> str:
        return sync.revision(one, sync.manifests(one))

    assert revision(flux()) == revision(flux({"uid": "v", "generation": 7}, wait=False))
    assert revision(flux()) != revision(flux(components=["source-controller"]))
    assert revision(flux()) != revision(flux(sync=SYNC | {"path": "./other"}))


def test_a_live_object_is_current_while_it_has_what_is_declared() -> None:
    _, wanted = sync.manifests(flux())
    spec = wanted["spec"]
    assert sync.is_current(live(wanted), wanted)
    assert sync.is_current(live(wanted, {"spec": spec | {"suspend": True}}), wanted)
    assert not sync.is_current(live(wanted, {"spec": spec | {"prune": False}}), wanted)
    assert not sync.is_current(live(wanted, {"spec": spec | {"path": "./other"}}), wanted)
    bare = wanted["metadata"] | {"labels": {}}
    assert not sync.is_current(live(wanted, {"metadata": bare}), wanted)
    going = wanted["metadata"] | {"deletionTimestamp": "2026-11-23T00:00:00Z"}
    assert not sync.is_current(live(wanted, {"metadata": going}), wanted)
    assert not sync.is_current(None, wanted)


def condition(status: str, message: str = "m", generation: int = 0) -> dict[str, Any]:
    return {
        "type": "Ready",
        "status": status,
        "reason": "R",
        "message": message,
        "lastTransitionTime": "t",
        "observedGeneration": generation,
    }


def with_ready(status: str, **change: Any) -> Kustomization:
    _, wanted = sync.manifests(flux())
    return live(wanted, {"status": {"conditions": [condition(status, **change)]}})


def test_readiness_of_an_older_generation_does_not_count() -> None:
    assert sync.waits_for(with_ready("True"), "K") == ""
    assert sync.waits_for(with_ready("True", generation=1), "K") == "K is not ready: m"
    assert sync.waits_for(with_ready("False", message="broken"), "K") == "K is not ready: broken"
    assert sync.waits_for(None, "K") == "K has not been reconciled yet"


def test_a_change_of_the_pair_wakes_its_instance() -> None:
    before, after = with_ready("False"), with_ready("True")
    ref = meta.ObjectRef("home", "FluxInstance", "flux-system", "flux")
    cause = "Kustomization/flux-system/flux-system"
    assert instance.on_sync("home", before, after) == [(ref, cause)]
    assert instance.on_sync("home", None, after) == [(ref, cause)]
    assert instance.on_sync("home", after, None) == [(ref, cause)]
    assert instance.on_sync("home", None, None) == []


def test_a_status_that_says_nothing_new_wakes_nobody() -> None:
    old = with_ready("True")
    status = msgspec.structs.replace(old.status, last_attempted_revision="main@sha1:1")
    new = msgspec.structs.replace(old, status=status)
    assert instance.on_sync("home", old, new) == []


def test_a_lost_owner_label_wakes_the_owner_it_named() -> None:
    old = with_ready("True")
    bare = msgspec.structs.replace(old.metadata, labels={})
    new = msgspec.structs.replace(old, metadata=bare)
    assert [ref.name for ref, _ in instance.on_sync("home", old, new)] == ["flux"]
    assert instance.on_sync("home", new, new) == []


def test_a_request_on_the_source_does_not_wake_the_instance() -> None:
    source, _ = sync.manifests(flux())
    old = msgspec.convert(source, GitRepository)
    annotations = old.metadata.annotations | {meta.REQUESTED_AT: "now"}
    asked = msgspec.structs.replace(old.metadata, annotations=annotations)
    assert instance.on_sync("home", old, msgspec.structs.replace(old, metadata=asked)) == []


@pytest.mark.parametrize(
    ("change", "wakes"),
    [
        ({"resourceVersion": "2"}, False),
        ({"finalizers": ["a"]}, False),
        ({"generation": 2}, True),
        ({"annotations": {"fluxcd.controlplane.io/reconcile": "enabled"}}, True),
        ({"deletionTimestamp": "2026-11-23T00:00:00Z"}, True),
        ({"uid": "another"}, True),
    ],
)
def test_an_instance_is_woken_by_what_people_change(change: dict[str, Any], *, wakes: bool) -> None:
    assert bool(instance.on_instance("home", flux(), flux(change))) is wakes
    assert instance.on_instance("home", None, flux())
    assert instance.on_instance("home", flux(), None) == []


def test_history_counts_repeats_and_keeps_the_last_five() -> None:
    history = outcome.record((), "v1@sha256:0", "ReconciliationSucceeded", "1s", NOW)
    for number in (1, 2, 3, 4, 5, 3):
        history = outcome.record(
            history, f"v1@sha256:{number}", "ReconciliationSucceeded", "2s", NOW + dt.timedelta(1)
        )
    assert [each.digest[-1] for each in history] == ["3", "5", "4", "2", "1"]
    assert [each.total_reconciliations for each in history] == [2, 1, 1, 1, 1]
    assert history[0].last_reconciled_duration == "2s"
    assert history[0].metadata["flux"] == meta.FLUX_VERSION
