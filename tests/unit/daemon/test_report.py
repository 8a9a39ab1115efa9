from __future__ import annotations

import msgspec

from api import meta
from api.charts import HelmRepository
from api.external import ExternalArtifact
from api.helm import HelmRelease
from api.instance import FluxInstance
from api.kustomize import Kustomization
from api.source import GitRepository
from daemon import report

SHA = "main@sha1:0123456789abcdef0123456789abcdef01234567"
READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Succeeded",
    "message": "done",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "observedGeneration": 1,
}


def kustomization(**status: object) -> Kustomization:
    return msgspec.convert(
        {
            "metadata": {"name": "apps", "namespace": "flux-system"},
            "spec": {
                "interval": "1m",
                "prune": True,
                "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            },
            "status": status,
        },
        Kustomization,
    )


def test_row_of_a_ready_object_shows_revision_condition_and_corrections() -> None:
    obj = kustomization(conditions=[READY], lastAppliedRevision=SHA)

    assert report.row("Kustomization", obj, corrections=2) == report.Row(
        kind="Kustomization",
        namespace="flux-system",
        name="apps",
        revision=SHA,
        ready="True",
        reason="Succeeded",
        message="done",
        since="2026-01-01T00:00:00Z",
        corrections=2,
    )


def test_row_of_a_new_object_waits_to_be_reconciled() -> None:
    row = report.row("Kustomization", kustomization())

    assert (row.ready, row.message) == ("False", "waiting to be reconciled")


def test_revision_of_a_source_is_its_artifact_s() -> None:
    source = msgspec.convert(
        {
            "metadata": {"name": "fleet", "namespace": "flux-system"},
            "spec": {"url": "https://example.org/fleet.git", "interval": "1m", "suspend": True},
            "status": {
                "artifact": {
                    "digest": "sha256:00",
                    "lastUpdateTime": "2026-01-01T00:00:00Z",
                    "path": "p",
                    "revision": SHA,
                    "url": "http://x/p",
                }
            },
        },
        GitRepository,
    )

    row = report.row("GitRepository", source)

    assert row.revision == SHA
    assert row.is_suspended


def test_instance_is_suspended_by_its_annotation() -> None:
    instance = msgspec.convert(
        {
            "metadata": {"name": "flux", "annotations": {meta.INSTANCE_RECONCILE: "Disabled"}},
            "spec": {"distribution": {"version": "2.x", "registry": "ghcr.io/fluxcd"}},
        },
        FluxInstance,
    )

    assert report.is_suspended(instance)


def test_long_hashes_are_shortened_and_others_are_not() -> None:
    assert report.short_revision(SHA) == "main@sha1:01234567"
    assert report.short_revision("v1.2.3@sha256:" + "ab" * 32) == "v1.2.3@sha256:abababab"
    assert report.short_revision("0123456789abcdef") == "0123456789abcdef"


def test_report_survives_its_own_json() -> None:
    found = report.Report(
        version="1",
        pid=2,
        started="",
        memory_bytes=3,
        config="c",
        clusters=(
            report.ClusterState(
                name="home", state="synced", rows=(report.row("Kustomization", kustomization()),)
            ),
        ),
    )

    assert msgspec.json.decode(msgspec.json.encode(found), type=report.Report) == found


def test_registry_is_ready_without_a_condition() -> None:
    spec = {"url": "oci://h/charts", "type": "oci"}
    registry = msgspec.convert({"metadata": {"name": "a"}, "spec": spec}, HelmRepository)

    row = report.row("HelmRepository", registry)

    assert (row.ready, row.message) == ("True", "Helm repository is Ready")


def test_artifact_of_somebody_else_is_ready_once_it_is_there() -> None:
    metadata = {"name": "a"}
    empty = msgspec.convert({"metadata": metadata}, ExternalArtifact)
    assert report.row("ExternalArtifact", empty).ready == "False"
    artifact = {"digest": "sha256:a", "path": "p", "url": "u", "revision": "r"}
    status = {"artifact": artifact | {"lastUpdateTime": "2026-01-01T00:00:00Z"}}
    made = msgspec.convert({"metadata": metadata, "status": status}, ExternalArtifact)
    row = report.row("ExternalArtifact", made)
    assert (row.ready, row.message, row.revision) == ("True", "artifact is there", "r")


def test_release_is_at_the_chart_that_was_released_else_at_the_one_that_was_tried() -> None:
    def revision(**status: object) -> str:
        release = msgspec.convert({"spec": {"interval": "1m"}, "status": status}, HelmRelease)
        return report.row("HelmRelease", release).revision

    newest = {
        **dict.fromkeys(("digest", "name", "namespace", "status", "chartName"), "a"),
        **dict.fromkeys(("configDigest", "firstDeployed", "lastDeployed"), "a"),
        "version": 1,
        "chartVersion": "1.2.3",
    }
    assert revision(history=[newest], lastAttemptedRevision="1.2.4") == "1.2.3"
    assert revision(lastAttemptedRevision="1.2.4") == "1.2.4"
    assert revision() == ""
