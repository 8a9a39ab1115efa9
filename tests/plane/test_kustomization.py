"""The main job of a Kustomization on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from kube import errors
from kube.objects import GVK, Resource
from reconcilers.kustomization import finalise, timing
from tests.support import kustomizer, served
from tests.support.api import CONFIG_MAPS
from tests.support.kustomizer import applied, config_map, failed, gone, handled, owned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.kustomizer import World


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running


async def test_push_is_applied_and_a_deletion_in_git_prunes(world: World, namespace: str) -> None:
    await world.push(
        {"a.yaml": config_map("a", namespace, k="1"), "b.yaml": config_map("b", namespace)}
    )
    await world.kustomize("apps")
    item = await world.until("apps", applied(world.revision))
    live = await world.live("configmaps", "a")
    assert live["data"] == {"k": "1"}
    assert live["metadata"]["labels"] == {
        meta.OWNER_NAME: "apps",
        meta.OWNER_NAMESPACE: namespace,
    }
    assert kustomizer.ready(item).message == f"Applied revision: {world.revision}"
    assert owned(item) == [
        f"{namespace}_a__ConfigMap",
        f"{namespace}_b__ConfigMap",
    ]
    assert item.status.history[0].last_reconciled_status == "ReconciliationSucceeded"
    assert meta.FINALIZER in item.metadata.finalizers

    await world.push({"b.yaml": None})
    item = await world.until("apps", applied(world.revision))
    with pytest.raises(errors.NotFound):
        await world.live("configmaps", "b")
    assert owned(item) == [f"{namespace}_a__ConfigMap"]
    await world.until_event(f"ConfigMap/{namespace}/b deleted")


async def test_nothing_to_do_sends_nothing(
    world: World, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "reconcilers.steps")
    await world.push({"a.yaml": config_map("a", namespace, k="1")})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    before, events = world.requests(), len(world.events)
    assert {record.getMessage() for record in caplog.records} == {"status written"}
    caplog.clear()
    world.controller.wake(world.ref("apps"), "interval")
    await world.idle("apps")
    assert world.requests() == before
    assert len(world.events) == events
    assert not caplog.records


async def test_request_is_answered_by_one_write(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace, k="1")})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    before = world.requests()[("patch", "kustomizations")]
    await world.request("apps", "now")
    item = await world.until("apps", handled("now"))
    assert world.requests()[("patch", "kustomizations")] == before + 2  # the request and the answer
    assert item.status.history[0].total_reconciliations == 2


async def test_verification_asks_the_server_about_every_object_once(
    world: World, namespace: str
) -> None:
    await world.push({f"{n}.yaml": config_map(f"cm{n}", namespace) for n in range(3)})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    await world.context.tracker.synced(world.ref("apps"))
    before = world.requests()[("dry-run", "configmaps")]
    annotations = {meta.REQUESTED_AT: "one", meta.VERIFY: "one"}
    await world.patch("apps", {"metadata": {"annotations": annotations}})
    await world.until("apps", handled("one"))
    assert world.requests()[("dry-run", "configmaps")] == before + 3
    await world.request("apps", "two")
    await world.until("apps", handled("two"))
    assert world.requests()[("dry-run", "configmaps")] == before + 3


async def test_new_revision_without_a_change_is_recorded_by_one_write(
    world: World, namespace: str
) -> None:
    await world.push({"apps/a.yaml": config_map("a", namespace, k="1"), "other/x.yaml": ""})
    await world.kustomize("apps", path="./apps")
    first = await world.until("apps", applied(world.revision))
    before = world.requests()
    await world.push({"other/x.yaml": "# changed"})
    item = await world.until("apps", applied(world.revision))
    after = world.requests()
    assert after[("patch", "kustomizations")] == before[("patch", "kustomizations")] + 1
    assert {key: count for key, count in after.items() if key[1] == "configmaps"} == {
        key: count for key, count in before.items() if key[1] == "configmaps"
    }
    assert item.status.inventory == first.status.inventory


async def test_deleting_prunes_and_leaves_nothing(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    await world.delete("apps")
    await world.until("apps", gone)
    with pytest.raises(errors.NotFound):
        await world.live("configmaps", "a")
    assert not list((world.context.data_dir / "builds").iterdir())


@pytest.mark.parametrize(
    ("policy", "prune", "is_deleted"),
    [
        ("MirrorPrune", True, True),
        ("MirrorPrune", False, False),
        ("Delete", False, True),
        ("WaitForTermination", False, True),
        ("Orphan", True, False),
    ],
)
async def test_deletion_policy_says_what_becomes_of_the_objects(
    world: World, namespace: str, policy: str, prune: bool, is_deleted: bool
) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", deletionPolicy=policy, prune=prune)
    await world.until("apps", applied(world.revision))
    await world.delete("apps")
    await world.until("apps", gone)
    if is_deleted:
        with pytest.raises(errors.NotFound):
            await world.live("configmaps", "a")
    else:
        await world.live("configmaps", "a")


async def test_suspended_kustomization_lets_go_of_its_objects_when_deleted(
    world: World, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    await world.patch("apps", {"spec": {"suspend": True}})
    await world.request("apps", "while suspended")
    await world.until("apps", handled("while suspended"))
    await world.delete("apps")
    await world.until("apps", gone)
    await world.live("configmaps", "a")


async def test_suspended_kustomization_does_not_follow_git(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace, k="1")})
    await world.kustomize("apps")
    first = await world.until("apps", applied(world.revision))
    await world.patch("apps", {"spec": {"suspend": True}})
    await world.push({"a.yaml": config_map("a", namespace, k="2")})
    await world.request("apps", "t")
    await world.until("apps", handled("t"))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "1"}
    revision = world.revision
    await world.patch("apps", {"spec": {"suspend": False}})
    item = await world.until("apps", applied(revision))
    assert item.status.last_applied_revision != first.status.last_applied_revision


async def test_what_left_git_while_prune_was_off_is_pruned_when_it_comes_back(
    world: World, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace), "b.yaml": config_map("b", namespace)})
    await world.kustomize("apps", prune=False)
    await world.until("apps", applied(world.revision))
    await world.push({"b.yaml": None})
    item = await world.until("apps", applied(world.revision))
    await world.live("configmaps", "b")
    assert len(owned(item)) == 2
    await world.patch("apps", {"spec": {"prune": True}})
    item = await world.until("apps", applied(world.revision))
    with pytest.raises(errors.NotFound):
        await world.live("configmaps", "b")
    assert len(owned(item)) == 1


async def test_empty_source_prunes_everything_and_is_ready(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    await world.push({"README.md": "nothing left"}, replace=True)
    item = await world.until("apps", applied(world.revision))
    assert not owned(item)
    with pytest.raises(errors.NotFound):
        await world.live("configmaps", "a")


async def test_rename_of_everything_creates_the_new_and_prunes_the_old(
    world: World, namespace: str
) -> None:
    names = [f"cm{number}" for number in range(20)]
    await world.push({f"{name}.yaml": config_map(name, namespace) for name in names})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    await world.push(
        {f"{name}.yaml": config_map(f"new-{name}", namespace) for name in names}, replace=True
    )
    item = await world.until("apps", applied(world.revision))
    assert set(owned(item)) == {f"{namespace}_new-{name}__ConfigMap" for name in names}
    with pytest.raises(errors.NotFound):
        await world.live("configmaps", "cm0")


async def test_common_metadata_is_set_and_disappears_with_the_spec(
    world: World, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize(
        "apps", commonMetadata={"labels": {"team": "x"}, "annotations": {"note": "y"}}
    )
    await world.until("apps", applied(world.revision))
    live = await world.live("configmaps", "a")
    assert live["metadata"]["labels"]["team"] == "x"
    assert live["metadata"]["annotations"]["note"] == "y"
    await world.patch("apps", {"spec": {"commonMetadata": None}})
    await world.until("apps", applied(world.revision))
    live = await world.live("configmaps", "a")
    assert "team" not in live["metadata"]["labels"]
    assert "annotations" not in live["metadata"]


async def test_overlay_is_built_by_kustomize(world: World, namespace: str) -> None:
    await world.push(
        {
            "base/kustomization.yaml": "resources: [cm.yaml]\n",
            "base/cm.yaml": config_map("a", namespace, k="1"),
            "overlay/kustomization.yaml": (
                "resources: [../base]\n"
                "configMapGenerator:\n- name: gen\n  literals: [x=1]\n"
                f"  namespace: {namespace}\n"
            ),
        }
    )
    await world.kustomize("apps", path="overlay", nameSuffix="-s")
    item = await world.until("apps", applied(world.revision))
    names = sorted(owned(item))
    assert names[0] == f"{namespace}_a-s__ConfigMap"
    assert names[1].startswith(f"{namespace}_gen-s-")
    await world.push({"base/cm.yaml": config_map("a", namespace, k="2")})
    await world.until("apps", applied(world.revision))
    assert (await world.live("configmaps", "a-s"))["data"] == {"k": "2"}


async def test_termination_is_heard_of_and_not_polled(
    world: World, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finalise, "RECHECK_S", 3600.0)
    held = config_map("a", namespace).replace("metadata:", "metadata:\n  finalizers: [test/hold]")
    await world.push({"a.yaml": held})
    await world.kustomize("apps", deletionPolicy="WaitForTermination")
    await world.until("apps", applied(world.revision))
    await world.context.tracker.synced(world.ref("apps"))
    await world.delete("apps")
    await served.until(lambda: world.controller.waiting() == 1)
    looks = world.requests()[("get", "configmaps")]
    body = b'{"metadata": {"finalizers": null}}'
    await world.context.client.patch(CONFIG_MAPS, namespace, "a", body, manager="test")
    await world.until("apps", gone)
    assert world.requests()[("get", "configmaps")] - looks <= 3


async def test_termination_that_takes_too_long_is_told_and_waited_for_no_more(
    world: World, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "MIN_TIMEOUT_S", 0.5)
    held = config_map("a", namespace).replace("metadata:", "metadata:\n  finalizers: [test/hold]")
    await world.push({"a.yaml": held})
    await world.kustomize("apps", deletionPolicy="WaitForTermination", timeout="1s")
    await world.until("apps", applied(world.revision))
    await world.delete("apps")
    await world.until_event("failed to wait for resources termination: not gone within 1s")
    await world.until("apps", gone)
    body = b'{"metadata": {"finalizers": null}}'
    await world.context.client.patch(CONFIG_MAPS, namespace, "a", body, manager="test")


async def test_inventory_is_written_before_the_first_object(world: World, namespace: str) -> None:
    """A quota refuses the second object: what was created is in the inventory all the same."""
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", retryInterval="1h")
    await world.until("apps", applied(world.revision))
    await world.push(
        {
            "crd.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: early-" + namespace,
            "b.yaml": config_map("b", namespace) + "data: {k: 1}\n",
        }
    )
    item = await world.until("apps", failed("ReconciliationFailed"))
    ids = set(owned(item))
    assert ids >= {f"{namespace}_a__ConfigMap", f"_early-{namespace}__Namespace"}
    await world.push({"b.yaml": None, "crd.yaml": None})
    await world.until("apps", applied(world.revision))
    live = orjson.loads(
        world.cluster.kubectl("get", "namespace", f"early-{namespace}", "-o", "json")
    )
    assert live["metadata"].get("deletionTimestamp") or live["status"]["phase"] == "Terminating"


async def test_flux_controllers_in_git_are_kept_at_zero_replicas(
    world: World, namespace: str
) -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "kustomize-controller",
            "namespace": namespace,
            "labels": {meta.PART_OF: "flux"},
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "k"}},
            "template": {
                "metadata": {"labels": {"app": "k"}},
                "spec": {"containers": [{"name": "manager", "image": "example.com/kc"}]},
            },
        },
    }
    await world.push({"gotk-components.yaml": orjson.dumps(deployment)})
    await world.kustomize("apps")
    item = await world.until("apps", applied(world.revision))
    found = orjson.loads(
        world.cluster.kubectl(
            "get", "deployment", "kustomize-controller", "-n", namespace, "-o", "json"
        )
    )
    assert found["spec"]["replicas"] == 0
    assert len(owned(item)) == 1


async def test_build_is_taken_up_again_after_a_restart(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        await world.push({f"{n}.yaml": config_map(f"cm{n}", namespace) for n in range(20)})
        await world.kustomize("apps")
        await world.until("apps", applied(world.revision))
        files = world.files
    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        world.files.update(files)
        await world.idle("apps")
        await world.context.tracker.synced(world.ref("apps"))
        sent = world.requests()
        assert not [key for key in sent if key[1] == "configmaps"]
        assert ("patch", "kustomizations") not in sent
        ways = world.context.metrics.builds
        assert ways.labels("reused", "test")._value.get() == 1


async def test_field_that_a_built_in_kind_does_not_have_is_told_whenever_the_object_is_written(
    world: World, namespace: str
) -> None:
    wrong = config_map("a", namespace, k="1") + "\ndta: {}\n"
    await world.push({"a.yaml": wrong, "b.yaml": config_map("b", namespace)})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    event = await world.until_event("UnknownFields")
    assert event.message == f"fields that the kind does not have:\nConfigMap/{namespace}/a: dta"
    await world.push({"b.yaml": config_map("b", namespace, k="2")})
    await world.until("apps", applied(world.revision))
    await world.until_event(f"ConfigMap/{namespace}/b configured")
    assert [each.reason for each in world.events].count("UnknownFields") == 1


async def test_ignored_fields_follow_the_spec_at_once(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace, k="1", other="1")})
    await world.kustomize("apps", ignore=[{"paths": ["/data/k"], "target": {"kind": "ConfigMap"}}])
    await world.until("apps", applied(world.revision))
    await world.context.client.patch(
        Resource(GVK("", "v1", "ConfigMap"), "configmaps", is_namespaced=True),
        namespace,
        "a",
        orjson.dumps({"data": {"k": "2", "other": "2"}}),
        manager="robot",
    )
    await world.until_event("corrected")
    assert (await world.live("configmaps", "a"))["data"] == {"k": "2", "other": "1"}

    await world.patch("apps", {"spec": {"ignore": None}})
    await world.until_event(f"ConfigMap/{namespace}/a configured")
    assert (await world.live("configmaps", "a"))["data"] == {"k": "1", "other": "1"}


async def test_ignore_rule_that_cannot_be_read_is_named(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", ignore=[{"paths": ["/data"], "target": {"name": "("}}])
    item = await world.until("apps", failed("ReconciliationFailed"))
    assert "spec.ignore: invalid name regex" in kustomizer.ready(item).message
