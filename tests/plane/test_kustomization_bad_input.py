"""Bad input: what people read in the Ready condition, and that the others go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from devcluster.access import KubectlError
from kube.client import MERGE
from tests.support import api, kustomizer
from tests.support.kustomizer import KUSTOMIZATIONS, applied, config_map, failed, owned, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.kustomizer import Files, World


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        await running.push({"good/a.yaml": config_map("good", namespace)})
        await running.kustomize("good", path="good")
        await running.until("good", applied(running.revision))
        yield running


async def reject(world: World, files: Files, reason: str, *, path: str = "bad", **spec: Any) -> str:
    """Push something bad; return the message, having seen that the other Kustomization goes on."""
    await world.push({f"bad/{name}": text for name, text in files.items()})
    await world.kustomize("bad", path=path, retryInterval="1h", **spec)
    item = await world.until("bad", failed(reason))
    assert item.status.observed_generation == -1
    await world.until("good", applied(world.revision))
    errors = [event for event in world.events if event.severity == "error"]
    assert errors
    assert errors[0].reason == reason
    return ready(item).message


async def test_yaml_that_does_not_parse_names_file_and_line(world: World) -> None:
    message = await reject(world, {"x.yaml": "a:\n  - b\n c: d\n"}, meta.BUILD_FAILED)
    assert message.startswith("failed to decode Kubernetes YAML from bad/x.yaml: line 3")


async def test_overlay_that_does_not_parse_is_worded_by_kustomize_without_our_paths(
    world: World,
) -> None:
    files = {"kustomization.yaml": "resources: [x.yaml]\n", "x.yaml": "a: [\n"}
    message = await reject(world, files, meta.BUILD_FAILED)
    assert message.startswith("kustomize build failed: accumulating resources")
    assert "x.yaml" in message
    assert str(world.context.data_dir) not in message


async def test_unknown_kind_names_kind_and_object(world: World, namespace: str) -> None:
    text = f"apiVersion: x.io/v1\nkind: Foo\nmetadata:\n  name: a\n  namespace: {namespace}\n"
    message = await reject(world, {"x.yaml": text}, meta.RECONCILIATION_FAILED)
    assert message == (
        f'Foo/{namespace}/a dry-run failed: no matches for kind "Foo" in version "x.io/v1"'
    )


async def test_schema_violation_names_the_field(world: World, namespace: str) -> None:
    text = config_map("a", namespace) + "data:\n  k: {nested: true}\n"
    message = await reject(world, {"x.yaml": text}, meta.RECONCILIATION_FAILED)
    assert message.startswith(f"ConfigMap/{namespace}/a dry-run failed")
    assert ".data.k" in message


async def test_object_declared_twice_is_worded_by_kustomize(world: World, namespace: str) -> None:
    files = {"x.yaml": config_map("a", namespace), "y.yaml": config_map("a", namespace)}
    message = await reject(world, files, meta.BUILD_FAILED)
    assert "may not add resource with an already registered id: ConfigMap.v1.[noGrp]/a" in message


async def test_missing_path_is_named(world: World) -> None:
    message = await reject(world, {"x.yaml": ""}, meta.ARTIFACT_FAILED, path="./nowhere")
    assert message == "kustomization path not found: stat ./nowhere: no such file or directory"


async def test_path_that_leaves_the_source_is_refused(world: World) -> None:
    message = await reject(world, {"x.yaml": ""}, meta.ARTIFACT_FAILED, path="../../etc")
    assert message == "kustomization path '../../etc' leaves the source"


@pytest.mark.parametrize(
    "kustomization",
    [
        "resources: [../../../../../../../etc]\n",
        "resources: [/etc/hosts]\n",
        "configMapGenerator:\n- name: a\n  files: [x=/etc/hosts]\n",
        "ConfigMapGenerator:\n- name: a\n  Files: [../../../../../../etc/hosts]\n",
        "patches:\n- path: ../../../../../etc/hosts\n",
        "transformers: [../../../../../etc]\n",
    ],
)
async def test_kustomization_that_leaves_the_source_is_refused(
    world: World, kustomization: str
) -> None:
    message = await reject(world, {"kustomization.yaml": kustomization}, meta.BUILD_FAILED)
    assert "leaves the source's root" in message


async def test_immutable_field_is_refused_and_force_recreates(world: World, namespace: str) -> None:
    secret = (
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n"
        f"  namespace: {namespace}\nimmutable: true\nstringData:\n  k: "
    )
    await world.push({"bad/s.yaml": f"{secret}one\n"})
    await world.kustomize("bad", path="bad", retryInterval="1h")
    await world.until("bad", applied(world.revision))
    await world.push({"bad/s.yaml": f"{secret}two\n"})
    item = await world.until("bad", failed(meta.RECONCILIATION_FAILED))
    assert "immutable" in ready(item).message
    await world.patch("bad", {"spec": {"force": True}})
    await world.until("bad", applied(world.revision))


async def test_encrypted_secret_is_refused_also_in_string_data(
    world: World, namespace: str
) -> None:
    text = (
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n"
        f"  namespace: {namespace}\nstringData:\n  k: ENC[AES256_GCM,data:x,type:str]\n"
        "sops:\n  mac: ENC[AES256_GCM,data:y]\n"
    )
    message = await reject(world, {"s.yaml": text}, meta.RECONCILIATION_FAILED)
    assert message == (
        f"Secret/{namespace}/s is SOPS encrypted, configuring decryption is required "
        "for this secret to be reconciled"
    )


async def test_five_megabytes_in_one_manifest_is_refused_by_the_server_alone(
    world: World, namespace: str
) -> None:
    text = config_map("a", namespace) + "data:\n  k: " + "x" * 5_000_000 + "\n"
    await reject(world, {"x.yaml": text}, meta.RECONCILIATION_FAILED)


async def test_missing_source_is_waited_for(world: World, namespace: str) -> None:
    await world.kustomize("bad", sourceRef={"kind": "GitRepository", "name": "none"})
    item = await world.until("bad", failed(meta.ARTIFACT_FAILED))
    assert ready(item).message == 'gitrepositories.source.toolkit.fluxcd.io "none" not found'
    await world.push({}, name="none")
    await world.until("bad", applied(world.revision))


async def test_artifact_that_disappeared_is_waited_for(world: World, namespace: str) -> None:
    await world.push({"x.yaml": config_map("a", namespace)})
    source = world.context.gitrepositories.get(namespace, "repo")
    assert source is not None
    artifact = source.status.artifact
    assert artifact is not None
    (world.context.storage.root / artifact.path).unlink()
    await world.kustomize("bad")
    item = await world.until("bad", failed(meta.ARTIFACT_FAILED))
    assert ready(item).message == "Source is not ready, artifact not found, retrying in 30s"


async def test_object_of_another_kustomization_is_kept_when_one_lets_go(
    world: World, namespace: str
) -> None:
    await world.push({"bad/a.yaml": config_map("good", namespace)})
    await world.kustomize("bad", path="bad")
    await world.until("bad", applied(world.revision))
    await world.delete("bad")
    await world.until("bad", kustomizer.gone)
    await world.live("configmaps", "good")
    event = await world.until_event("declares it too")
    assert f"Kustomization/{namespace}/good" in event.message


async def test_failure_says_the_same_without_another_write(world: World) -> None:
    await reject(world, {"x.yaml": "a: [\n"}, meta.BUILD_FAILED)
    before, events = world.requests(), len(world.events)
    world.controller.wake(world.ref("bad"), "start")
    await world.idle("bad")
    assert world.requests() == before
    assert len(world.events) == events


async def test_failed_deletion_stays_in_the_inventory_and_is_tried_again(
    world: World, namespace: str
) -> None:
    await world.push({"bad/a.yaml": config_map("a", namespace)})
    await world.kustomize("bad", path="bad", retryInterval="1s")
    await world.until("bad", applied(world.revision))
    policy = _policy(namespace)
    world.cluster.kubectl("apply", "-f", "-", input=policy)
    await _until_denied(world)
    await world.push({"bad/a.yaml": None, "bad/README.md": ""})
    item = await world.until("bad", failed(meta.PRUNE_FAILED))
    assert "delete failed, errors:" in ready(item).message
    assert owned(item) == [f"{namespace}_a__ConfigMap"]
    world.cluster.kubectl("delete", "-f", "-", input=policy)
    item = await world.until("bad", applied(world.revision))
    assert not owned(item)


def _policy(namespace: str) -> str:
    return f"""
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: no-deletion-{namespace}}}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {{apiGroups: [""], apiVersions: [v1], operations: [DELETE], resources: [configmaps]}}
  validations: [{{expression: "false", message: "not today"}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: no-deletion-{namespace}}}
spec:
  policyName: no-deletion-{namespace}
  validationActions: [Deny]
  matchResources:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
"""


async def _until_denied(world: World) -> None:
    """Wait until the API server enforces the policy, which takes it a moment."""
    async with asyncio.timeout(api.WAIT_S):
        while True:
            try:
                await asyncio.to_thread(
                    world.cluster.kubectl,
                    "delete",
                    "configmap",
                    "a",
                    "-n",
                    world.namespace,
                    "--dry-run=server",
                )
            except KubectlError:
                return
            await asyncio.sleep(0.1)


async def test_foreign_conditions_survive_our_patches(world: World) -> None:
    condition = {
        "type": "Approved",
        "status": "True",
        "reason": "ByHand",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    item = await world.until("good", applied(world.revision))
    kept = [
        {
            "type": each.type,
            "status": each.status,
            "reason": each.reason,
            "message": each.message,
            "lastTransitionTime": each.last_transition_time,
        }
        for each in item.status.conditions
    ]
    raw = await world.context.client.patch(
        KUSTOMIZATIONS,
        world.namespace,
        "good",
        orjson.dumps({"status": {"conditions": [*kept, condition]}}),
        manager="approver",
        content_type=MERGE,
        subresource="status",
    )
    world.context.kustomizations.observe(raw)
    await world.push({"good/a.yaml": config_map("good", world.namespace, k="2")})
    item = await world.until("good", applied(world.revision))
    assert "Approved" in {each.type for each in item.status.conditions}
