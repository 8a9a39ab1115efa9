"""``postBuild`` on a real API server: sources of variables, their order, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from tests.support import kustomizer
from tests.support.kustomizer import applied, config_map, failed, handled, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.kustomizer import World


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def refer(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "name": name, **more}


async def test_inline_wins_over_later_sources_and_those_over_earlier_ones(
    world: World, namespace: str
) -> None:
    await world.put("ConfigMap", "first", a="first", b="first", c="first", d="x\ny\n")
    await world.put("Secret", "second", b="second", c="second")
    await world.push({"a.yaml": config_map("a", namespace, k="${a}-${b}-${c}-${d}")})
    post = {
        "substitute": {"c": "inline"},
        "substituteFrom": [refer("ConfigMap", "first"), refer("Secret", "second")],
    }
    await world.kustomize("apps", postBuild=post)
    await world.until("apps", applied(world.revision))
    live = await world.live("configmaps", "a")
    assert live["data"] == {"k": "first-second-inline-xy"}
    assert live["metadata"]["labels"][meta.OWNER_NAME] == "apps"


async def test_value_from_a_secret_is_in_the_cluster_and_nowhere_on_disk(
    world: World, namespace: str, tmp_path: Path
) -> None:
    await world.put("Secret", "vars", password="hunter2-and-more")
    await world.push({"a.yaml": config_map("a", namespace, k="${password}")})
    await world.kustomize("apps", postBuild={"substituteFrom": [refer("Secret", "vars")]})
    await world.until("apps", applied(world.revision))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "hunter2-and-more"}
    files = contents(tmp_path)
    assert files
    assert not [path for path, content in files.items() if b"hunter2" in content]


async def test_missing_source_fails_the_build_and_names_it(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace, k="${v:-default}")})
    await world.kustomize("apps", postBuild={"substituteFrom": [refer("ConfigMap", "vars")]})
    item = await world.until("apps", failed(meta.BUILD_FAILED))
    assert ready(item).message == (
        "substitute from 'ConfigMap/vars' error: configmaps \"vars\" not found"
    )
    await world.put("ConfigMap", "vars", v="1.2.3")
    await world.request("apps", "now")
    await world.until("apps", applied(world.revision))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "1.2.3"}


async def test_optional_source_may_be_missing_and_is_used_once_it_is_there(
    world: World, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace, k="${v:=default}-${w}")})
    post = {
        "substitute": {"w": "inline"},
        "substituteFrom": [refer("Secret", "vars", optional=True)],
    }
    await world.kustomize("apps", postBuild=post)
    await world.until("apps", applied(world.revision))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "default-inline"}
    await world.put("Secret", "vars", v="later")
    await world.request("apps", "now")
    await world.until("apps", handled("now"))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "later-inline"}


async def test_without_variables_only_the_strategy_always_substitutes(
    world: World, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace, k="${v:=default}")})
    await world.kustomize("apps", postBuild={"substituteStrategy": "WithVariables"})
    await world.until("apps", applied(world.revision))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "${v:=default}"}
    await world.patch("apps", {"spec": {"postBuild": {"substituteStrategy": "Always"}}})
    await world.until("apps", applied(world.revision))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "default"}


async def test_numbers_and_booleans_get_their_types_and_strings_keep_theirs(
    world: World, namespace: str
) -> None:
    text = (
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"
        f"  namespace: {namespace}\n  labels:\n    id: ${{text}}\n"
        "    flag: ${q}${flag}${q}\nspec:\n"
        '  publishNotReadyAddresses: ${flag}\n  ports: [{port: "${number}"}]\n'
    )
    await world.push({"a.yaml": text})
    values = {"number": "8080", "text": "!!str 8080", "flag": "true", "q": '"'}
    await world.kustomize("apps", postBuild={"substitute": values})
    await world.until("apps", applied(world.revision))
    live = await world.live("services", "web")
    assert live["metadata"]["labels"]["id"] == "8080"
    assert live["metadata"]["labels"]["flag"] == "true"
    assert live["spec"]["publishNotReadyAddresses"] is True
    assert live["spec"]["ports"][0]["port"] == 8080


async def test_unknown_variable_is_told_on_the_kustomization(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace, k="${v} ${unknown}")})
    await world.kustomize("apps", postBuild={"substitute": {"v": "1"}})
    item = await world.until("apps", failed(meta.BUILD_FAILED))
    assert ready(item).message == (
        "post build failed for 'ConfigMap.v1.[noGrp]/a': envsubst error: variable substitution "
        'failed: variable not set (strict mode): "unknown"'
    )
    await world.patch("apps", {"spec": {"postBuild": {"substitute": {"unknown": "2"}}}})
    await world.until("apps", applied(world.revision))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "1 2"}


async def test_key_of_a_config_map_that_is_no_name_fails_the_build(
    world: World, namespace: str
) -> None:
    await world.put("ConfigMap", "vars", None, **{"app.properties": "x"})
    await world.push({"a.yaml": config_map("a", namespace, k="${v:-1}")})
    await world.kustomize("apps", postBuild={"substituteFrom": [refer("ConfigMap", "vars")]})
    item = await world.until("apps", failed(meta.BUILD_FAILED))
    assert "'app.properties' var name is invalid, must match" in ready(item).message


async def test_parent_leaves_escaped_variables_to_its_child(world: World, namespace: str) -> None:
    child = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "child", "namespace": namespace},
        "spec": {
            "interval": "1h",
            "prune": True,
            "path": "child",
            "sourceRef": {"kind": "GitRepository", "name": "repo"},
            "postBuild": {"substitute": {"v": "${v}-$${v}"}},
        },
    }
    await world.push(
        {
            "parent/child.yaml": orjson.dumps(child),
            "child/a.yaml": config_map("a", namespace, k="${v}"),
        }
    )
    await world.kustomize("apps", path="parent", postBuild={"substitute": {"v": "parent"}})
    await world.until("apps", applied(world.revision))
    await world.until("child", applied(world.revision))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "parent-${v}"}
