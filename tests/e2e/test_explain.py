"""Twelve breakages, each explained by one call of ``explain_not_ready``.

All of them are made at once in one namespace of one daemon, which writes every status that is read
here. What only a kubelet would say is said in its place.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from bench.fixtures import dump
from devcluster.api import condition
from devcluster.gitserver import GitServer
from tests.support import agents, api, encrypting, estate
from tests.support.agents import text_of
from tests.support.estate import config_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.bed import Bed
    from devcluster.cluster import Cluster
    from tests.support.estate import Object, Tenant

pytestmark = pytest.mark.leftovers("connections to the Git server live as long as the daemon")

_SOURCE = "/apis/source.toolkit.fluxcd.io/v1/namespaces/bench/gitrepositories"
_RIGHT, _WRONG = encrypting.age_key(), encrypting.age_key()


class Breakage(NamedTuple):
    """What is broken, and what has to be found."""

    kind: str
    name: str
    cause: str
    at: str
    """How the id of the object with the cause begins."""


BREAKAGES = {
    "wrong branch": Breakage("ks", "branch", "wrong-reference", "GitRepository/bench/"),
    "bad credentials": Breakage("ks", "locked", "bad-credentials", "GitRepository/bench/"),
    "build error": Breakage("ks", "build", "build-error", "Kustomization/bench/"),
    "immutable field": Breakage("ks", "immutable", "immutable-field", "Kustomization/bench/"),
    "failing health": Breakage("ks", "health", "failing-health", "Deployment/"),
    "missing definition": Breakage("ks", "kindless", "missing-kind", "Kustomization/bench/"),
    "dependency not ready": Breakage("ks", "dependent", "build-error", "Kustomization/bench/"),
    "wrong SOPS key": Breakage("ks", "sealed", "decryption-failed", "Kustomization/bench/"),
    "denied by RBAC": Breakage("ks", "denied", "denied-by-rbac", "Kustomization/bench/"),
    "quota": Breakage("ks", "quota", "quota-exceeded", "Kustomization/bench/"),
    "image that does not pull": Breakage("ks", "image", "image-pull", "Pod/"),
    "suspended parent": Breakage("ks", "child", "suspended", "Kustomization/bench/"),
}


class Ward(NamedTuple):
    """The broken objects and the way to them."""

    tenant: Tenant
    bed: Bed
    config: Path

    def name(self, name: str) -> str:
        """The name of a broken Kustomization."""
        return "child" if name == "child" else self.tenant.kustomization(name)


@pytest.fixture(scope="module")
def ward(audited: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Break everything, and wait until the daemon has noticed all of it."""
    folder = tmp_path_factory.mktemp("ward")
    tools = folder / "gitopsd" / "data" / "tools"
    tools.mkdir(parents=True)
    (tools / "sops").symlink_to(encrypting.sops_program())
    name = f"ward-{uuid.uuid4().hex[:8]}"
    with (
        GitServer(folder / "private", basic=("me", "right")) as private,
        estate.running({"home": audited}, folder) as beds,
        estate.tenant(beds["home"], name) as tenant,
    ):
        bed = beds["home"]
        assert bed.daemon
        found = Ward(tenant, bed, bed.daemon.config)
        break_sources(found, private)
        break_kustomizations(found)
        wait_until_broken(found)
        yield found
        restore(found)


def break_sources(ward: Ward, private: GitServer) -> None:
    """Two sources that cannot be fetched, with a Kustomization each."""
    tenant, bed = ward.tenant, ward.bed
    private.repo("secret").push({"a.yaml": config_map(tenant.name, "a", k="1")})
    urls = {"branch": bed.git.url(tenant.name), "locked": private.url("secret")}
    secret = {
        "metadata": {"name": f"{tenant.name}-locked"},
        "stringData": {"username": "me", "password": "wrong"},
    }
    bed.api.post("/api/v1/namespaces/bench/secrets", secret)
    for name, url in urls.items():
        spec: Object = {"interval": "1h", "url": url, "ref": {"branch": "main"}}
        if name == "branch":
            spec["ref"] = {"branch": "no-such-branch"}
        else:
            spec["secretRef"] = {"name": f"{tenant.name}-locked"}
        body = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": f"{tenant.name}-{name}", "namespace": "bench"},
            "spec": spec,
        }
        bed.api.post(_SOURCE, body)
        source = {"kind": "GitRepository", "name": f"{tenant.name}-{name}"}
        tenant.kustomize(name, sourceRef=source)


def break_kustomizations(ward: Ward) -> None:
    """Ten Kustomizations of one repository, each broken in its own way."""
    tenant, bed = ward.tenant, ward.bed
    space = tenant.name
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"count/services": "0"}},
    }
    bed.api.post(f"/api/v1/namespaces/{space}/resourcequotas", quota)
    keys = {
        "metadata": {"name": f"{space}-keys"},
        "stringData": {"age.agekey": _WRONG.identity},
    }
    bed.api.post("/api/v1/namespaces/bench/secrets", keys)
    frozen = config_map(space, "frozen", k="1") + "immutable: true\n"
    tenant.push(
        {
            "build/kustomization.yaml": "resources: [missing.yaml]\n",
            "immutable/a.yaml": frozen,
            "health/web.yaml": dump(deployment(space, "web")),
            "image/web.yaml": dump(deployment(space, "picture")),
            "kindless/a.yaml": f"apiVersion: example.com/v1\nkind: Nothing\n"
            f"metadata: {{name: a, namespace: {space}}}\n",
            "dependent/a.yaml": config_map(space, "dependent", k="1"),
            "sealed/a.yaml": encrypting.seal(sealed(space), _RIGHT),
            "denied/a.yaml": config_map(space, "denied", k="1"),
            "quota/a.yaml": dump(service(space)),
            "parent/child.yaml": dump(child(tenant)),
        }
    )
    tenant.kustomize("immutable")
    tenant.kustomize("parent")
    tenant.until_applied("immutable")
    tenant.until_applied("parent")
    tenant.patch("parent", {"suspend": True})
    tenant.push({"immutable/a.yaml": frozen.replace("'1'", "'2'").replace('"1"', '"2"')})
    tenant.kustomize("build")
    tenant.kustomize("health", wait=True, timeout="2s")
    tenant.kustomize("image", wait=True, timeout="2s")
    tenant.kustomize("kindless")
    tenant.kustomize("dependent", dependsOn=[{"name": tenant.kustomization("build")}])
    decryption = {"provider": "sops", "secretRef": {"name": f"{space}-keys"}}
    tenant.kustomize("sealed", decryption=decryption)
    tenant.kustomize("denied", serviceAccountName="nobody")
    tenant.kustomize("quota")


def wait_until_broken(ward: Ward) -> None:
    """Wait until each of them says that it is not ready."""

    def is_broken(obj: Object | None) -> bool:
        return condition(obj).get("status") == "False"

    for breakage in BREAKAGES.values():
        path = ward.bed.kustomization(ward.name(breakage.name))
        ward.bed.api.wait(path, is_broken, api.WAIT_S)
    until_refused(ward, "immutable", lambda text: "immutable" in text)
    say_as_kubelet(ward)


def until_refused(ward: Ward, name: str, holds: Callable[[str], bool]) -> None:
    path = ward.bed.kustomization(ward.name(name))
    ward.bed.api.wait(path, lambda obj: holds(condition(obj).get("message", "")), api.WAIT_S)


def say_as_kubelet(ward: Ward) -> None:
    """Say of the pod of ``picture`` that its image cannot be pulled."""
    pods = f"/api/v1/namespaces/{ward.tenant.name}/pods"
    query = f"{pods}?labelSelector=app%3Dpicture"
    estate.until(lambda: (ward.bed.api.get(query) or {})["items"], "a pod of picture")
    pod = (ward.bed.api.get(query) or {})["items"][0]["metadata"]["name"]
    waiting = {"reason": "ErrImagePull", "message": "failed to pull image: not found"}
    container = {
        "name": "app",
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": waiting},
    }
    status = {"status": {"containerStatuses": [container]}}
    ward.bed.api.patch(f"{pods}/{pod}/status", status)


def restore(ward: Ward) -> None:
    """Let everything be deleted."""
    ward.tenant.patch("parent", {"suspend": False})
    for name in ("branch", "locked"):
        ward.bed.api.delete(f"{_SOURCE}/{ward.tenant.name}-{name}")


def deployment(namespace: str, name: str) -> Object:
    """A Deployment whose pods nobody schedules."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "registry.invalid/app:1"}]},
            },
        },
    }


def service(namespace: str) -> Object:
    """A Service, of which the quota allows none."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"ports": [{"port": 80}]},
    }


def sealed(namespace: str) -> str:
    """A Secret to be encrypted."""
    metadata = f"{{name: s, namespace: {namespace}}}"
    return f"apiVersion: v1\nkind: Secret\nmetadata: {metadata}\nstringData: {{k: geheim}}\n"


def child(tenant: Tenant) -> Object:
    """A Kustomization of a directory that is not there."""
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "child", "namespace": "bench"},
        "spec": {
            "interval": "1h",
            "prune": True,
            "path": "./gone",
            "sourceRef": {"kind": "GitRepository", "name": tenant.name},
        },
    }


@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_first_cause_is_found_by_one_call(ward: Ward, breakage: str) -> None:
    expected = BREAKAGES[breakage]

    text, found = await explained(ward, expected.kind, ward.name(expected.name))

    assert found["cause"] == expected.cause, text
    assert found["at"].startswith(expected.at), text
    assert found["evidence"]
    assert found["remedies"]
    assert "geheim" not in text + json.dumps(found)


async def test_cause_behind_a_dependency_is_the_dependencys(ward: Ward) -> None:
    _, found = await explained(ward, "ks", ward.name("dependent"))

    assert found["at"] == f"Kustomization/bench/{ward.name('build')}"


async def explained(ward: Ward, kind: str, name: str) -> tuple[str, dict[str, Any]]:
    """Ask for the cause once."""
    arguments = {"kind": kind, "name": name, "namespace": "bench"}
    async with agents.inside(ward.config) as client:
        result = await client.call_tool("explain_not_ready", arguments)
    assert not result.is_error, text_of(result)
    return text_of(result), result.structured_content or {}


async def test_drift_is_told_with_who_and_which_fields(ward: Ward) -> None:
    tenant = ward.tenant
    tenant.push({"drifting/a.yaml": config_map(tenant.name, "drifting", k="1")})
    tenant.kustomize("drifting")
    await asyncio.to_thread(tenant.until_applied, "drifting")
    edit = {"data": {"k": "2"}}
    await asyncio.to_thread(ward.bed.api.patch, tenant.object("drifting"), edit)
    await asyncio.to_thread(tenant.until_live, "drifting", estate.says(k="1"))

    async with agents.inside(ward.config) as client:
        result = await client.call_tool("get_drift", {"owner": tenant.kustomization("drifting")})

    found = (result.structured_content or {})["drifts"][0]
    assert found["object"] == f"ConfigMap/{tenant.name}/drifting"
    assert found["change"] == "edited"
    assert found["fields"] == ["data.k"]
    assert (result.structured_content or {})["source"] == "daemon"
