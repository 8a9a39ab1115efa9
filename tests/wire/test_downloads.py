"""Artifacts that somebody else stores: fetched once, checked, and refused where they lie."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tarfile
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from api.artifact import Artifact
from reconcilers import artifacts
from sources import download, web
from sources.auth import tls
from sources.download import DownloadError, Downloads
from sources.untar import Limits
from tests.support import blocking, disk, faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from runtime.limits import Threads

LIMITS = Limits(size_bytes=100_000, files=100)


def pack(**files: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return file.getvalue()


BODY = pack(a="1", b="2")
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


class Shelf:
    """Downloads and the server that they come from."""

    def __init__(self, server: faults.Faults, directory: Path, threads: Threads) -> None:
        self.server, self.threads = server, threads
        self.directory = directory / "downloads"
        self.downloads = Downloads(self.directory, threads)

    async def files(self, digest: str = DIGEST, limits: Limits = LIMITS) -> dict[str, str]:
        """Return what is in an artifact."""
        artifact = Artifact(
            digest=digest,
            path="p",
            url=f"http://{self.server.endpoint}/a.tar.gz",
            revision="r",
            last_update_time="2026-01-01T00:00:00Z",
        )
        tree = await self.downloads.open(artifact, partial(self._stream, artifact), limits)
        return await self.threads.run(
            lambda: {each.path: tree.read(each.path).decode() for each in tree.entries()}
        )

    @asynccontextmanager
    async def _stream(self, artifact: Artifact) -> AsyncIterator[AsyncIterator[bytes]]:
        async with (
            web.Web(tls.SYSTEM, None, tls.Contexts(), self.threads) as client,
            client.open("GET", URL(artifact.url), {}, limit=10**6) as body,
        ):
            yield body.chunks()

    def names(self) -> list[str]:
        """Return the files that are kept."""
        return sorted(path.name for path in self.directory.iterdir())


@asynccontextmanager
async def shelf(
    tmp_path: Path, script: Callable[[str], Iterable[bytes | float]] | None = None
) -> AsyncIterator[Shelf]:
    answer = script or (lambda _: [faults.answer(BODY)])
    async with blocking.threads() as threads, faults.running(answer) as server:
        yield Shelf(server, tmp_path, threads)


async def test_artifact_is_fetched_once_for_all_who_read_it(tmp_path: Path) -> None:
    async with shelf(tmp_path) as each, asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.files()) for _ in range(5)]
    assert [task.result() for task in tasks] == [{"a": "1", "b": "2"}] * 5
    assert len(each.server.heads) == 1


async def test_artifact_that_is_here_is_not_fetched_after_a_restart(tmp_path: Path) -> None:
    async with shelf(tmp_path) as each:
        await each.files()
    async with shelf(tmp_path) as each:
        assert await each.files() == {"a": "1", "b": "2"}
        assert each.server.heads == []


async def test_file_that_was_damaged_is_fetched_again(tmp_path: Path) -> None:
    async with shelf(tmp_path) as each:
        await each.files()
        await each.threads.run((each.directory / each.names()[0]).write_bytes, b"x")
        assert await each.files() == {"a": "1", "b": "2"}
        assert len(each.server.heads) == 2


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "sha1"])
async def test_digest_of_any_algorithm_of_flux_is_checked(tmp_path: Path, algorithm: str) -> None:
    async with shelf(tmp_path) as each:
        right = hashlib.new(algorithm, BODY).hexdigest()
        assert await each.files(f"{algorithm}:{right}") == {"a": "1", "b": "2"}
        with pytest.raises(DownloadError, match=f"doesn't match provided '{algorithm}:0"):
            await each.files(f"{algorithm}:{'0' * len(right)}")
        assert each.names() == [f"{algorithm}-{right}"]


async def test_digest_without_an_algorithm_is_sha256(tmp_path: Path) -> None:
    async with shelf(tmp_path) as each:
        assert await each.files(DIGEST.removeprefix("sha256:"))


@pytest.mark.parametrize(
    ("digest", "text"),
    [("", "empty digest"), ("md5:" + "0" * 32, "unknown digest"), ("sha256:../../x", "unknown")],
)
async def test_digest_that_is_none_is_refused(tmp_path: Path, digest: str, text: str) -> None:
    async with shelf(tmp_path) as each:
        with pytest.raises(DownloadError, match=text):
            await each.files(digest)
        assert each.server.heads == []


async def test_artifact_larger_than_allowed_is_not_kept(tmp_path: Path) -> None:
    async with shelf(tmp_path) as each:
        with pytest.raises(DownloadError, match="larger than 20 bytes"):
            await each.files(limits=Limits(20, 100))
        assert each.names() == []


async def test_artifact_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    body = pack(a="0" * 1_000_000)
    async with shelf(tmp_path, lambda _: [faults.answer(body)]) as each:
        with pytest.raises(OSError, match="unpacks to more bytes than allowed"):
            await each.files(f"sha256:{hashlib.sha256(body).hexdigest()}")


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ([faults.answer(b"", "404 Not Found")], "answered 404"),
        ([faults.answer(b"", "302 Found", "Location: http://other/")], "redirects to http://other"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc"], "broke off after 3 bytes"),
        ([b"nonsense\r\n\r\n"], "does not speak HTTP"),
    ],
)
async def test_answer_that_is_no_artifact_leaves_nothing(
    tmp_path: Path, script: list[bytes | float], text: str
) -> None:
    async with shelf(tmp_path, lambda _: script) as each:
        with pytest.raises(web.WebError, match=text):
            await each.files()
        assert each.names() == []


async def test_fetch_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    begun = asyncio.Event()

    def stall(_head: str) -> Iterable[bytes | float]:
        begun.set()
        return [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc", faults.STALL]

    async with shelf(tmp_path, stall) as each:
        task = asyncio.create_task(each.files())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert each.names() == []


async def test_full_disk_leaves_nothing_and_passes(tmp_path: Path) -> None:
    body = hashlib.shake_256(b"x").digest(90_000)
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    async with shelf(tmp_path, lambda _: [faults.answer(body)]) as each:
        with disk.full(), pytest.raises(OSError, match="too large"):
            await each.files(digest)
        assert each.names() == []
        with pytest.raises(OSError, match="damaged"):  # it is here now, and no archive
            await each.files(digest)
        assert each.names() == [digest.replace(":", "-")]


async def test_only_the_last_used_files_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "KEPT", 2)
    async with shelf(tmp_path) as each:
        await each.files()
        for number, name in enumerate(("sha256-0", "sha256-1", ".writing-0")):
            path = each.directory / name
            await each.threads.run(path.write_bytes, b"old")
            await each.threads.run(os.utime, path, (number, number))
        right = hashlib.sha1(BODY).hexdigest()
        await each.files(f"sha1:{right}")
        assert each.names() == [f"sha1-{right}", DIGEST.replace(":", "-")]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (
            "http://source-watcher.flux-system.svc.cluster.local./external/a b.tar.gz",
            "flux-system/services/source-watcher:80/proxy/external/a%20b.tar.gz",
        ),
        ("http://s.n.svc:8080/x", "n/services/s:8080/proxy/x"),
        ("https://s.n.svc.home.arpa/x", "n/services/https:s:443/proxy/x"),
    ],
)
def test_address_inside_the_cluster_goes_through_the_api_server(url: str, path: str) -> None:
    assert artifacts.service_path(url) == f"/api/v1/namespaces/{path}"


@pytest.mark.parametrize(
    "url",
    [
        "http://host/x",
        "http://127.0.0.1:9790/x",
        "http://a.b.example/svc",
        "http://svc.a.b/x",
        "http://s.n.svc:port/x",
        "http://[bad",
        "",
    ],
)
def test_any_other_address_is_asked_itself(url: str) -> None:
    assert artifacts.service_path(url) is None
