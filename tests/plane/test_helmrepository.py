"""HelmRepositories on a real API server and a real HTTP server: status, events, and their cost."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from api.charts import HelmRepository
from runtime.errors import TerminalError
from tests.support import chartserver, helming
from tests.support.chartsource import REPOSITORY, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.chartserver import ChartServer
    from tests.support.reconciling import Desk

FINALIZER = "finalizers.fluxcd.io"


@pytest.fixture
async def server() -> AsyncIterator[ChartServer]:
    async with chartserver.running() as each:
        each.publish(helming.chart())
        yield each


@pytest.fixture
def world(desk: Desk, server: ChartServer, namespace: str) -> World:
    return World(desk, server, namespace)


async def test_index_becomes_an_artifact(world: World) -> None:
    await world.repository()
    result = await world.reconcile(HelmRepository)
    assert result.requeue_after_s == 300
    sent = hashlib.sha256(world.server.files["index.yaml"]).hexdigest()
    stored = ("True", "Succeeded", f"stored artifact: revision 'sha256:{sent}'")
    assert world.conditions(HelmRepository) == {"Ready": stored, "ArtifactInStorage": stored}
    folder = f"helmrepository/{world.namespace}/{REPOSITORY}"
    artifact, status = world.artifact(HelmRepository), world.status(HelmRepository)
    assert artifact["path"] == f"{folder}/index-{sent}.yaml"
    assert artifact["revision"] == f"sha256:{sent}"
    assert status["url"] == f"http://127.0.0.1:1/{folder}/index.yaml"
    assert status["observedGeneration"] == 1
    content = await asyncio.to_thread(world.content, HelmRepository)
    assert artifact["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert list(json.loads(content)["entries"]) == ["web"]
    assert FINALIZER in world.live[HelmRepository]["metadata"]["finalizers"]
    told = f"stored fetched index of size {len(content)}B from '{world.server.url}'"
    assert world.events == [("NewArtifact", told)]
    assert world.desk.events[-1].metadata == {
        "source.toolkit.fluxcd.io/revision": artifact["revision"],
        "source.toolkit.fluxcd.io/digest": artifact["digest"],
    }


async def test_unchanged_index_costs_one_304_and_no_write(world: World) -> None:
    await world.repository()
    await world.reconcile(HelmRepository)
    with world.desk.counting() as counts:
        await world.reconcile(HelmRepository)
    assert counts == {"get": 1}  # by which the test itself looks at the object
    assert world.server.statuses == [200, 304]
    assert len(world.events) == 1


async def test_new_index_costs_one_patch_and_replaces_the_link(world: World) -> None:
    await world.repository()
    await world.reconcile(HelmRepository)
    first = world.artifact(HelmRepository)
    world.server.publish(helming.chart(version="1.1.0"))
    with world.desk.counting() as counts:
        await world.reconcile(HelmRepository)
    assert counts == {"get": 1, "patch": 1}
    artifact = world.artifact(HelmRepository)
    assert artifact["revision"] != first["revision"]
    link = world.desk.context.storage.root / first["path"]
    target = await asyncio.to_thread((link.parent / "index.yaml").resolve)
    assert target.name == artifact["path"].rpartition("/")[2]


async def test_lost_file_is_made_again_without_a_download(world: World) -> None:
    await world.repository()
    await world.reconcile(HelmRepository)
    path = world.desk.context.storage.root / world.artifact(HelmRepository)["path"]
    await asyncio.to_thread(path.unlink)
    await world.reconcile(HelmRepository)
    assert await asyncio.to_thread(path.exists)
    assert world.server.statuses == [200, 304]


async def test_login_is_of_the_secret(world: World) -> None:
    world.server.basic = ("ada", "secret")
    await world.repository(secretRef={"name": "login"})
    text = await world.fails(kind=HelmRepository)
    assert text.startswith(f"failed to get secret '{world.namespace}/login': ")
    assert world.conditions(HelmRepository)["FetchFailed"][1] == "AuthenticationFailed"
    await world.secret("login", {"username": "ada", "password": "wrong"})
    text = await world.fails(kind=HelmRepository)
    assert text == (
        "failed to fetch Helm repository index: failed to fetch "
        f"{world.server.url}/index.yaml : 401 Unauthorized (credentials refused)"
    )
    failed = ("False", "Failed", text)
    assert world.conditions(HelmRepository)["Ready"] == failed
    assert world.conditions(HelmRepository)["FetchFailed"] == ("True", *failed[1:])
    assert world.events == [("AuthenticationFailed", world.events[0][1]), ("Failed", text)]
    await world.secret("login", {"username": "ada", "password": "secret"})
    await world.reconcile(HelmRepository)
    assert set(world.conditions(HelmRepository)) == {"Ready", "ArtifactInStorage"}


async def test_secret_that_cannot_be_used_is_told(world: World) -> None:
    await world.repository(secretRef={"name": "login"})
    for secret, said in (
        ({"password": "p"}, "password requires a username"),
        ({"tls.crt": "x"}, "a client certificate needs 'tls.key' too"),
        ({"certFile": "x"}, "a client certificate needs 'tls.key' too"),
        ({"username": b"\xff"}, "key 'username' is not UTF-8 text"),
    ):
        await world.secret("login", secret)
        assert said in await world.fails(kind=HelmRepository)
        assert world.conditions(HelmRepository)["Ready"][1] == "AuthenticationFailed"
    await world.repository(url="https://127.0.0.1:1", certSecretRef={"name": "tls"})
    for key, said in (("other", "must have 'ca.crt'"), ("ca.crt", "invalid CA certificate")):
        await world.secret("tls", {key: "x"})
        assert said in await world.fails(kind=HelmRepository)


async def test_registry_in_the_url_needs_its_type(world: World) -> None:
    await world.repository(url="oci://127.0.0.1/charts")
    text = await world.fails(TerminalError, HelmRepository)
    assert text == (
        "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' "
        "HelmRepository type"
    )
    assert world.conditions(HelmRepository)["Stalled"] == ("True", "URLInvalid", text)


async def test_index_that_is_none_is_told_and_the_old_one_kept(world: World) -> None:
    await world.repository()
    await world.reconcile(HelmRepository)
    before = world.artifact(HelmRepository)
    world.server.files["index.yaml"] = b"<html>"
    text = await world.fails(kind=HelmRepository)
    assert text.startswith("failed to load Helm repository from index YAML: line 1: the index is")
    assert world.conditions(HelmRepository)["FetchFailed"][1] == "IndexationFailed"
    assert world.artifact(HelmRepository) == before


async def test_disk_that_refuses_is_told_and_recovered_from(world: World) -> None:
    folder = world.desk.context.storage.root / f"helmrepository/{world.namespace}/{REPOSITORY}"
    await asyncio.to_thread(helming.write, folder.parent, {REPOSITORY: "not a folder"})
    await world.repository()
    text = await world.fails(kind=HelmRepository)
    assert text.startswith("unable to archive artifact to storage: ")
    failed = ("True", "ArchiveOperationFailed", text)
    assert world.conditions(HelmRepository)["StorageOperationFailed"] == failed
    assert "artifact" not in world.status(HelmRepository)
    await asyncio.to_thread(folder.unlink)
    await world.reconcile(HelmRepository)
    assert set(world.conditions(HelmRepository)) == {"Ready", "ArtifactInStorage"}


async def test_registry_has_no_status_and_no_finalizer(world: World) -> None:
    await world.repository(type="oci", url="oci://127.0.0.1/charts")
    await world.reconcile(HelmRepository)
    assert "finalizers" not in world.live[HelmRepository]["metadata"]
    with world.desk.counting() as counts:
        await world.reconcile(HelmRepository)
    assert counts == {"get": 1}
    assert world.status(HelmRepository) == {}


async def test_repository_that_becomes_a_registry_leaves_nothing(world: World) -> None:
    await world.repository()
    await world.reconcile(HelmRepository)
    folder = world.desk.context.storage.root / f"helmrepository/{world.namespace}"
    await world.repository(type="oci", url="oci://127.0.0.1/charts")
    await world.reconcile(HelmRepository)
    assert world.status(HelmRepository) == {}
    assert "finalizers" not in world.live[HelmRepository]["metadata"]
    assert await asyncio.to_thread(lambda: list(folder.iterdir())) == []


async def test_suspended_repository_is_left_alone(world: World) -> None:
    await world.repository(suspend=True)
    await world.reconcile(HelmRepository)
    assert world.server.requests == []


async def test_deleted_repository_takes_its_files_along(world: World) -> None:
    await world.repository()
    await world.reconcile(HelmRepository)
    folder = world.desk.context.storage.root / f"helmrepository/{world.namespace}"
    await world.desk.delete(HelmRepository, world.namespace, REPOSITORY)
    await world.reconcile(HelmRepository)
    assert await asyncio.to_thread(lambda: list(folder.iterdir())) == []
    assert await world.desk.names(world.namespace, HelmRepository) == []
