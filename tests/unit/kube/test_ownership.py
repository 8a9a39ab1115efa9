"""The ownership digest: what changes it and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from kube import ownership
from kube.desired import Flag

if TYPE_CHECKING:
    from kube.objects import JsonObject, PartialMeta

IDENTITY = ownership.IDENTITIES["Kustomization"]
LABELS = {IDENTITY.name_label: "apps", IDENTITY.namespace_label: "flux-system"}


def entry(manager: str = IDENTITY.manager, operation: str = "Apply", **more: object) -> JsonObject:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:k": {}}},
    } | more


def metadata(*entries: JsonObject, **more: object) -> PartialMeta:
    wire = {"name": "a", "uid": "u", "resourceVersion": "7", "managedFields": list(entries)}
    return ownership.read(orjson.dumps({"metadata": wire | more}))


def digest(*entries: JsonObject, **more: object) -> bytes:
    return ownership.digest_of(metadata(*entries, **more), IDENTITY)


@pytest.mark.parametrize(
    "change",
    [
        {"time": "2026-01-01T00:00:01Z"},
        {"fieldsV1": {"f:data": {"f:k": {}, "f:l": {}}}},
        {"apiVersion": "v2"},
    ],
)
def test_digest_changes_with_our_entry(change: JsonObject) -> None:
    assert digest(entry()) != digest(entry(**change))


def test_digest_changes_with_the_uid_and_with_the_loss_of_our_entry() -> None:
    assert len({digest(entry()), digest(entry(), uid="other"), digest(), digest(uid="other")}) == 4


@pytest.mark.parametrize(
    "other",
    [
        entry("kubectl-edit", "Update"),
        entry("hpa", "Update", subresource="scale"),
        entry(IDENTITY.manager, "Update"),
        entry(IDENTITY.manager, "Apply", subresource="status"),
    ],
)
def test_digest_ignores_entries_of_others_and_of_subresources(other: JsonObject) -> None:
    assert digest(entry(), other) == digest(entry()) == digest(other, entry())


@pytest.mark.parametrize("manager", ["helm-controller", "helm"])
def test_digest_of_a_release_changes_with_its_updates_too(manager: str) -> None:
    identity = ownership.IDENTITIES["HelmRelease"]
    seen = [
        ownership.digest_of(metadata(*entries), identity)
        for entries in (
            (),
            (entry(manager, "Update"),),
            (entry(manager, "Update", fieldsV1={"f:data": {"f:l": {}}}),),
            (entry("helm-controller"), entry(manager, "Update")),
        )
    ]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    "other",
    [
        entry("kubectl-edit", "Update"),
        entry("helm-diff", "Update"),
        entry("helm-controller", "Update", subresource="status"),
    ],
)
def test_digest_of_a_release_ignores_updates_of_others(other: JsonObject) -> None:
    identity, own = ownership.IDENTITIES["HelmRelease"], entry("helm-controller", "Update")
    alone, beside = metadata(own), metadata(other, own)
    assert ownership.digest_of(alone, identity) == ownership.digest_of(beside, identity)


def test_digest_ignores_everything_but_entries_and_uid() -> None:
    assert digest(entry(), resourceVersion="8", annotations={"a": "b"}) == digest(entry())


@pytest.mark.parametrize(
    ("manager", "operation", "is_absorbed"),
    [
        ("kubectl", "Update", True),
        ("kubectl-client-side-apply", "Update", True),
        ("kubectl", "Apply", True),
        ("before-first-apply", "Update", True),
        ("before-first-apply", "Apply", False),
        ("kustomize-controller", "Update", True),
        ("kustomize-controller", "Apply", False),
        ("helm", "Update", False),
        ("kube-controller-manager", "Update", False),
    ],
)
def test_managers_that_a_kustomization_absorbs(
    manager: str, operation: str, is_absorbed: bool
) -> None:
    (field,) = metadata(entry(manager, operation)).managed_fields
    assert ownership.is_absorbed(field, IDENTITY) is is_absorbed


def test_managers_that_the_settings_override_are_absorbed_by_kustomizations_alone() -> None:
    identities = ownership.overriding(["meddler"])
    fields = metadata(
        entry("meddler"), entry("meddler-v2", "Update"), entry("a-meddler"), entry("kubectl")
    ).managed_fields
    absorbed = {
        kind: [field.manager for field in fields if ownership.is_absorbed(field, identity)]
        for kind, identity in identities.items()
    }
    assert absorbed["Kustomization"] == ["meddler", "meddler-v2", "kubectl"]
    assert absorbed["FluxInstance"] == ["kubectl"]
    assert absorbed["HelmRelease"] == []


def test_subresource_is_never_absorbed() -> None:
    (field,) = metadata(entry("kubectl", "Update", subresource="status")).managed_fields
    assert not ownership.is_absorbed(field, IDENTITY)


def test_instance_absorbs_flux_and_the_kustomize_controller() -> None:
    identity = ownership.IDENTITIES["FluxInstance"]
    fields = metadata(
        entry("flux"), entry("fluxy"), entry("kustomize-controller"), entry("helm", "Update")
    ).managed_fields
    absorbed = [field.manager for field in fields if ownership.is_absorbed(field, identity)]
    assert absorbed == ["flux", "kustomize-controller", "helm"]


def test_look_condenses_an_object() -> None:
    live = ownership.look(
        metadata(entry(), labels=LABELS, annotations={}, deletionTimestamp="2026-01-01T00:00:00Z"),
        IDENTITY,
    )
    assert (live.uid, live.resource_version, live.owner) == ("u", 7, ("flux-system", "apps"))
    assert live.flags is Flag.NONE
    assert live.is_deleting


@pytest.mark.parametrize(
    "more",
    [
        {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        {"labels": {"fluxcd.io/sync-gc-mark": "x"}},
        {"managedFields": [entry("kubectl-edit", "Update")]},
    ],
)
def test_leftovers_of_others_are_marked(more: JsonObject) -> None:
    assert ownership.look(metadata(**more), IDENTITY).flags & Flag.FOREIGN


@pytest.mark.parametrize("label", [IDENTITY.namespace_label, IDENTITY.name_label])
def test_object_without_one_of_the_labels_has_no_owner(label: str) -> None:
    assert ownership.owner_of({label: "x"}, IDENTITY) is None


def test_resource_version_that_is_no_number_is_older_than_all() -> None:
    assert ownership.look(metadata(resourceVersion="opaque"), IDENTITY).resource_version == 0


def test_last_writer_is_the_latest_of_the_others() -> None:
    late = entry("editor", "Update", time="2026-01-02T00:00:00Z")
    early = entry("older", "Update")
    scaled = entry("hpa", "Update", time="2027-01-01T00:00:00Z", subresource="scale")
    found = ownership.last_writer(metadata(early, late, scaled, entry()), IDENTITY.manager)
    assert found == "editor"
    assert ownership.last_writer(metadata(entry()), IDENTITY.manager) == IDENTITY.manager


def test_fields_that_a_manager_wrote_are_named_as_people_write_them() -> None:
    fields = {
        "f:spec": {
            "f:replicas": {},
            "f:template": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}}}},
        },
        "f:metadata": {"f:finalizers": {'v:"keep"': {}}},
    }
    written = entry("editor", "Update", time="2026-01-02T00:00:00Z", fieldsV1=fields)
    found = ownership.written_by(metadata(entry(), written), "editor")

    assert found == (
        "spec.replicas",
        "spec.template.containers[name=web].image",
        "metadata.finalizers[keep]",
    )
    assert ownership.written_by(metadata(written), "editor", most=1) == ("spec.replicas",)
    assert ownership.written_by(metadata(written), "nobody") == ()
