"""Release Secrets on a real API server, with the real helm as the judge of both directions."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kube import errors
from kube.helm import digest, record, storage
from kube.helm.storage import ReleaseStorage
from runtime.clock import SystemClock
from runtime.limits import Threads
from tests.support import api, helmcharts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.cluster import Cluster
    from kube.client import Client
    from kube.helm.record import Record


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with api.client(cluster.kubeconfig) as opened:
        yield opened


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    opened = Threads()
    yield opened
    await opened.aclose()


@pytest.fixture
def helm(cluster: Cluster, tmp_path: Path) -> helmcharts.Program:
    return helmcharts.Program(cluster.kubeconfig, tmp_path)


def made(version: int = 1, status: str = record.DEPLOYED, **fields: Any) -> Record:
    """Return a record of our own making."""
    when = f"2026-01-0{version}T00:00:00Z"
    info = record.Info(
        first_deployed="2026-01-01T00:00:00Z", last_deployed=when, status=status, description="d"
    )
    chart = {"metadata": {"name": "demo", "version": "0.1.0", "apiVersion": "v2"}}
    text = {"name": "app", "version": version, "namespace": "elsewhere", "chart": chart}
    return record.parse(msgspec.json.encode(text)).changed(info=info, **fields)


def unpacked(helm: helmcharts.Program, namespace: str, tmp_path: Path) -> str:
    """Install the demo chart by helm itself."""
    file = tmp_path / "demo.tgz"
    file.write_bytes(helmcharts.pack("demo", appVersion="7"))
    arguments = ("-n", namespace, "-f", "-", "--labels", "team=a")
    helm.run("install", "app", str(file), *arguments, input='{"text": "one <&>"}')
    return str(file)


async def test_what_helm_writes_is_read(
    client: Client, threads: Threads, helm: helmcharts.Program, namespace: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(unpacked, helm, namespace, tmp_path)
    store = ReleaseStorage(client, namespace, SystemClock(), threads)
    found = await store.last("app")
    assert found is not None
    assert (found.full_name, found.chart_name) == (f"{namespace}/app.v1", "demo@0.1.0")
    assert (found.status, found.apply_method, found.chart.app_version) == ("deployed", "ssa", "7")
    assert found.config == {"text": "one <&>"}
    assert 'text: "one <&>"' in found.manifest
    assert found.labels == {"team": "a"}
    assert [head.version for head in await store.heads("app")] == [1]
    assert await store.last("nothing") is None
    assert await store.get("app", 2) is None


async def test_what_we_change_in_a_record_of_helm_s_helm_reads(
    client: Client, threads: Threads, helm: helmcharts.Program, namespace: str, tmp_path: Path
) -> None:
    file = await asyncio.to_thread(unpacked, helm, namespace, tmp_path)
    store = ReleaseStorage(client, namespace, SystemClock(), threads)
    first = await store.get("app", 1)
    assert first is not None
    before = digest.of_record(first)
    await store.update(first.with_info(status=record.SUPERSEDED))
    second = first.changed(version=2).with_info(description="by us <&>")
    await store.create(second)
    listed = await asyncio.to_thread(helm.json, "list", "-n", namespace)
    assert [(each["name"], each["revision"], each["status"]) for each in listed] == [
        ("app", "2", "deployed")
    ]
    history = await asyncio.to_thread(helm.json, "history", "app", "-n", namespace)
    assert [(each["status"], each["description"]) for each in history] == [
        ("superseded", "Install complete"),
        ("deployed", "by us <&>"),
    ]
    whole = await asyncio.to_thread(helm.run, "get", "all", "app", "-n", namespace)
    assert 'text: "one <&>"' in whole
    values = await asyncio.to_thread(helm.json, "get", "values", "app", "-n", namespace)
    assert values == {"text": "one <&>"}
    again = await store.get("app", 1)
    assert again is not None
    assert digest.of_record(again.with_info(status=record.DEPLOYED)) == before
    await asyncio.to_thread(
        helm.run, "upgrade", "app", file, "-n", namespace, "--force-conflicts", "--server-side=true"
    )
    versions = [each.version for each in await store.history("app")]
    assert versions == [1, 2, 3]
    await asyncio.to_thread(helm.run, "uninstall", "app", "-n", namespace)
    assert await store.heads("app") == ()


async def test_history_is_kept_short_but_not_without_the_last_deployed(
    client: Client, threads: Threads, namespace: str
) -> None:
    store = ReleaseStorage(client, namespace, SystemClock(), threads)
    await store.create(made(1), max_history=3)
    assert client.requests["list", "secrets"] == 0  # nothing can be too much
    for version in (2, 3, 4, 5):
        await store.create(made(version, record.FAILED), max_history=3)
    assert [head.version for head in await store.heads("app")] == [1, 4, 5]
    await store.create(made(6, record.FAILED))
    assert [head.version for head in await store.heads("app")] == [1, 4, 5, 6]


async def test_a_revision_is_written_once_and_updated_only_where_it_is(
    client: Client, threads: Threads, namespace: str
) -> None:
    store = ReleaseStorage(client, namespace, SystemClock(), threads)
    await store.create(made(1, labels={"team": "a"}))
    with pytest.raises(errors.AlreadyExists):
        await store.create(made(1))
    with pytest.raises(errors.NotFound):
        await store.update(made(2))
    await store.update(made(1, record.FAILED, labels={"team": "b"}))
    secret = await client.get(storage.SECRETS, namespace, "sh.helm.release.v1.app.v1")
    labels = secret["metadata"]["labels"]
    assert (labels["status"], labels["team"], secret["type"]) == ("failed", "b", storage.TYPE)
    assert labels["createdAt"].isdecimal()
    assert labels["modifiedAt"].isdecimal()
    await store.delete("app", 1)
    await store.delete("app", 1)
    assert await store.heads("app") == ()


async def test_a_record_near_the_limit_is_kept_and_one_over_it_refused(
    client: Client, threads: Threads, namespace: str
) -> None:
    noise = random.Random(1)
    store = ReleaseStorage(client, namespace, SystemClock(), threads)

    def of_size(characters: int) -> Record:
        text = "".join(noise.choices("0123456789abcdef", k=characters))
        return made(1, manifest=text)

    await store.create(of_size(1_300_000))
    found = await store.last("app")
    assert found is not None
    assert len(found.manifest) == 1_300_000
    with pytest.raises(storage.ReleaseTooLarge, match=r"elsewhere/app\.v1 takes .* 1048576"):
        await store.update(of_size(1_900_000))


async def test_a_secret_that_is_no_record_is_named_as_such(
    client: Client, threads: Threads, namespace: str
) -> None:
    store = ReleaseStorage(client, namespace, SystemClock(), threads)
    await store.create(made(1))
    body = b'{"data":{"release":"Z2FyYmFnZQ=="}}'
    name = record.secret_name("app", 1)
    await client.patch(storage.SECRETS, namespace, name, body, manager="test")
    with pytest.raises(record.RecordError):
        await store.last("app")
    assert await store.history("app") == []
