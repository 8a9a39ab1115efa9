"""What an apply and a prune would do, beside what they then do, on a real API server."""

from __future__ import annotations

import copy
import dataclasses
import json
import uuid
from typing import TYPE_CHECKING

import pytest

from api import meta
from api.kustomize import IgnoreRule
from api.meta import ObjectRef
from kube import fielddiff, preview
from kube.ignore import Rules
from kube.ownership import IDENTITIES
from kube.preview import Outcome
from kube.target import Session
from tests.support import engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devcluster.access import Access
    from kube.client import Client
    from kube.objects import JsonObject
    from kube.preview import Preview


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def session(plant: engine.Plant, *, force: bool = False, client: Client | None = None) -> Session:
    return Session(
        client=client or plant.client,
        discovery=plant.discovery,
        ledger=plant.tracker,
        clock=plant.clock,
        owner=engine.OWNER,
        identity=IDENTITIES[engine.OWNER.kind],
        reader=plant.manifests,
        force=force,
        verify=True,
        at_interval=False,
    )


async def look(
    plant: engine.Plant, objects: Sequence[JsonObject], *, force: bool = False
) -> list[Preview]:
    return await preview.apply(session(plant, force=force), plant.manifests.add(objects))


def outcomes(found: Sequence[Preview]) -> list[Outcome]:
    return [each.outcome for each in found]


def fields(each: Preview) -> dict[str, tuple[object, object]]:
    return {change.field: (change.before, change.after) for change in each.changes}


def deployment(namespace: str, **spec: object) -> JsonObject:
    labels = {"app": "web"}
    container = {"name": "web", "image": "nginx:1", "env": [{"name": "A", "value": "1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            **spec,
        },
    }


async def test_absent_changed_and_equal_objects_are_told_apart(
    cluster: Access, namespace: str
) -> None:
    same, other = (engine.config_map(namespace, name, {"k": "1"}) for name in ("a", "b"))
    async with engine.running(cluster) as plant:
        await plant.apply([same, other])
        other["data"] = {"k": "2", "l": "3"}

        found = await look(plant, [same, other, engine.config_map(namespace, "c", {})])

    assert outcomes(found) == [Outcome.UNCHANGED, Outcome.CHANGED, Outcome.CREATED]
    assert fields(found[1]) == {"data.k": ("1", "2"), "data.l": (fielddiff.MISSING, "3")}


async def test_nothing_is_written(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply([deployment(namespace)])
        before = engine.get(cluster, "deployment", namespace, "web")
        plant.requests()

        await look(plant, [deployment(namespace, replicas=3)])

        assert set(plant.requests()) == {"get", "dry-run"}
    after = engine.get(cluster, "deployment", namespace, "web")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_what_the_server_defaults_is_no_change(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply([deployment(namespace)])

        assert outcomes(await look(plant, [deployment(namespace)])) == [Outcome.UNCHANGED]


async def test_fields_that_kubectl_left_are_told_as_the_apply_then_removes_them(
    cluster: Access, namespace: str
) -> None:
    theirs = deployment(namespace, minReadySeconds=7)
    spec = theirs["spec"]["template"]["spec"]
    spec["containers"][0]["env"].append({"name": "B", "value": "2"})
    spec["containers"].append({"name": "sidecar", "image": "busybox:1"})
    spec["nodeSelector"] = {"disk": "ssd"}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(theirs))
    before = engine.get(cluster, "deployment", namespace, "web")
    async with engine.running(cluster) as plant:
        (found,) = await look(plant, [deployment(namespace)])
        await plant.apply([deployment(namespace)])
    after = engine.get(cluster, "deployment", namespace, "web")

    # the controller that counts revisions writes its annotation meanwhile
    annotations = [before["metadata"].pop("annotations"), after["metadata"].pop("annotations")]
    really = fielddiff.changes(fielddiff.view(before), fielddiff.view(after))
    assert [each for each in found.changes if "annotations" not in each.path] == [*really]
    assert [LAST_APPLIED in each for each in annotations] == [True, False]
    assert found.note == "taken over from kubectl-client-side-apply"
    assert "spec.template.spec.containers[name=sidecar]" in fields(found)
    assert "spec.minReadySeconds" in fields(found)


async def test_fields_of_another_controller_stay(cluster: Access, namespace: str) -> None:
    mine = engine.config_map(namespace, "a", {"k": "1"})
    async with engine.running(cluster) as plant:
        await plant.apply([mine])
        body = json.dumps(engine.config_map(namespace, "a", {"theirs": "x"})).encode()
        await plant.client.apply(
            engine.CONFIG_MAPS, body, namespace, "a", manager="other-controller"
        )

        assert outcomes(await look(plant, [mine])) == [Outcome.UNCHANGED]


async def test_merge_leaves_what_kubectl_added(cluster: Access, namespace: str) -> None:
    mine = engine.config_map(namespace, "a", {"k": "1"})
    mine["metadata"]["annotations"] = {meta.SSA: "Merge"}
    async with engine.running(cluster) as plant:
        await plant.apply([mine])
        cluster.kubectl("-n", namespace, "patch", "cm", "a", "-p", '{"data":{"l":"2"}}')

        assert outcomes(await look(plant, [mine])) == [Outcome.UNCHANGED]


@pytest.mark.parametrize(
    "annotation", [{meta.SSA: "Ignore"}, {meta.RECONCILE: "disabled"}, {meta.SSA: "IfNotPresent"}]
)
async def test_excluded_objects_are_skipped(
    cluster: Access, namespace: str, annotation: dict[str, str]
) -> None:
    mine = engine.config_map(namespace, "a", {"k": "1"})
    async with engine.running(cluster) as plant:
        await plant.apply([mine])
        mine["data"] = {"k": "2"}
        mine["metadata"]["annotations"] = annotation

        (found,) = await look(plant, [mine])

    assert found.outcome is Outcome.SKIPPED
    assert found.note


async def test_live_object_that_says_ignore_is_skipped(cluster: Access, namespace: str) -> None:
    mine = engine.config_map(namespace, "a", {"k": "1"})
    async with engine.running(cluster) as plant:
        await plant.apply([mine])
        cluster.kubectl("-n", namespace, "annotate", "cm", "a", f"{meta.RECONCILE}=disabled")
        mine["data"] = {"k": "2"}

        assert outcomes(await look(plant, [mine])) == [Outcome.SKIPPED]


async def test_immutable_field_is_refused_and_with_force_recreated(
    cluster: Access, namespace: str
) -> None:
    mine = engine.config_map(namespace, "a", {"k": "1"}) | {"immutable": True}
    async with engine.running(cluster) as plant:
        await plant.apply([mine])
        mine = copy.deepcopy(mine) | {"data": {"k": "2"}}

        (refused,) = await look(plant, [mine])
        (forced,) = await look(plant, [mine], force=True)

    assert refused.outcome is Outcome.REFUSED
    assert refused.note.startswith(f"ConfigMap/{namespace}/a dry-run failed (Invalid): ")
    assert forced.outcome is Outcome.RECREATED
    assert "immutable" in forced.note


async def test_refusal_does_not_hide_the_other_objects(cluster: Access, namespace: str) -> None:
    bad = engine.config_map(namespace, "bad", {"k": 1})
    async with engine.running(cluster) as plant:
        found = await look(plant, [bad, engine.config_map(namespace, "good", {})])

    assert outcomes(found) == [Outcome.REFUSED, Outcome.CREATED]
    assert f"ConfigMap/{namespace}/bad dry-run failed" in found[0].note


async def test_kinds_and_namespaces_of_the_same_revision_are_believed(cluster: Access) -> None:
    suffix = uuid.uuid4().hex[:6]
    group, space = f"g{suffix}.example.com", f"n{suffix}"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
    thing = {
        "apiVersion": f"{group}/v1",
        "kind": "Thing",
        "metadata": {"name": "a", "namespace": space},
    }
    async with engine.running(cluster) as plant:
        found = await look(plant, [thing, engine.config_map(space, "a", {}), namespace, definition])
        (alone,) = await look(plant, [thing])

    assert [str(each.id) for each in found] == [
        f"CustomResourceDefinition/things.{group}",
        f"Namespace/{space}",
        f"ConfigMap/{space}/a",
        f"Thing/{space}/a",
    ]
    assert set(outcomes(found)) == {Outcome.CREATED}
    assert found[2].note == "its namespace is created by this revision, so it could not be tried"
    assert found[3].note == "its kind is defined by this revision, so it could not be tried"
    assert alone.outcome is Outcome.REFUSED
    assert alone.note.endswith(f'no matches for kind "Thing" in version "{group}/v1"')


async def test_ignored_fields_are_no_change(cluster: Access, namespace: str) -> None:
    mine = engine.config_map(namespace, "a", {"k": "1", "l": "1"})
    async with engine.running(cluster) as plant:
        await plant.apply([mine])
        cluster.kubectl("-n", namespace, "patch", "cm", "a", "-p", '{"data":{"k":"9"}}')
        mine["data"]["l"] = "2"
        rules = Rules([IgnoreRule(paths=("/data/k",))])

        (found,) = await preview.apply(
            dataclasses.replace(session(plant), rules=rules), plant.manifests.add([mine])
        )

    assert fields(found) == {"data.l": ("1", "2")}


async def test_prune_tells_what_goes_what_stays_and_why(cluster: Access, namespace: str) -> None:
    mine, kept, other, gone, shared = (
        engine.config_map(namespace, name, {}) for name in ("mine", "kept", "other", "gone", "both")
    )
    kept["metadata"]["annotations"] = {meta.PRUNE: "disabled"}
    elsewhere = ObjectRef("test", "Kustomization", "flux-system", "elsewhere")
    async with engine.running(cluster) as plant:
        await plant.apply([mine, kept, gone, shared])
        await plant.apply([other], owner=elsewhere)
        cluster.kubectl("-n", namespace, "delete", "cm", "gone")
        owners = {engine.id_of(shared): elsewhere}

        found = await preview.pruned(
            session(plant), engine.entries([mine, kept, other, gone, shared]), owners.get
        )

    assert {each.id.name: each.outcome for each in found} == {
        "other": Outcome.KEPT,
        "mine": Outcome.PRUNED,
        "kept": Outcome.KEPT,
        "both": Outcome.KEPT,
    }
    notes = {each.id.name: each.note for each in found}
    assert notes["both"] == "Kustomization/flux-system/elsewhere declares it too"
    assert notes["kept"] == "its labels or annotations keep it, or name another owner"


async def test_user_without_rights_is_told_what_is_missing(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        objects = engine.config_maps(namespace, 40)
        await plant.discovery.resource(engine.CONFIG_MAPS.gvk)
        nobody = plant.client.impersonating("nobody")
        found = await preview.apply(
            session(plant, client=nobody),
            plant.manifests.add(objects),
        )
    assert {each.outcome for each in found} == {Outcome.REFUSED}
    assert 'User "nobody" cannot get resource "configmaps"' in found[0].note
