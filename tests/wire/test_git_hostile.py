"""Git servers and repositories that are up to no good, and machines that run out of room."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from devcluster.gitrepo import git as run_git
from devcluster.gitserver import GitServer
from sources import git, gitclient, giterrors, gitmirror, gitref, gitstore
from sources.auth.basic import Credentials
from sources.auth.tls import Trust
from sources.gitpack import Limits
from tests.support import disk, gitfetch, gitssh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.gitrepo import Repo

MIB = 1024 * 1024
SMALL = Limits(objects=50, bytes=MIB, file_bytes=2 * MIB)
TOO_LARGE = "the repository is too large: "
HINT = "; see [limits] in config.toml"


# Bombs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_beside", [False, True])
@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"bomb": b"\0" * 5 * MIB}, "a file of 5 MiB was sent, and 2 MiB are allowed"),
        ({f"{n}": str(n) for n in range(60)}, "62 objects were sent, and 50 are allowed"),
        ({"random": os.urandom(2 * MIB)}, "more than 1 MiB were sent"),
    ],
)
async def test_repository_over_a_limit_is_refused_and_can_be_mended(
    git_server: GitServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, bytes],
    text: str,
    *,
    is_beside: bool,
) -> None:
    if is_beside:
        monkeypatch.setattr(gitmirror, "LARGE_PACK_BYTES", 1)
    repo = git_server.repo("fleet")
    repo.push(files)
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores", SMALL) as fetching:
        with pytest.raises(giterrors.GitOperationError) as caught:
            await fetching.commit(repository)
        assert caught.value.message.endswith(f": {TOO_LARGE}{text}{HINT}")
        repo.rewrite({"a": "1"})
        run_git(repo.work, "rm", "--quiet", "--ignore-unmatch", "--", *files)
        sha = repo.commit()
        assert (await fetching.commit(repository)).sha == sha
    assert not list((tmp_path / "stores").rglob("receiving-*"))


async def test_limits_hold_over_ssh_too(tmp_path: Path) -> None:
    async with gitssh.running(tmp_path / "git") as server:
        server.repo("fleet").push({"random": os.urandom(2 * MIB)})
        repository = git.Repository(server.url("fleet"), Credentials(ssh=server.identity))
        async with gitfetch.running(tmp_path / "stores", SMALL) as fetching:
            with pytest.raises(giterrors.GitOperationError, match="more than 1 MiB were sent"):
                await fetching.commit(repository)


@pytest.mark.parametrize("is_ssh", [False, True])
async def test_listing_without_end_is_refused(
    git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_ssh: bool
) -> None:
    monkeypatch.setattr(gitclient, "LISTING_BYTES", 200)
    async with (
        gitssh.running(tmp_path / "git") as server,
        gitfetch.running(tmp_path / "stores") as fetching,
    ):
        repo = server.repo("fleet") if is_ssh else git_server.repo("fleet")
        repo.push({"a": "1"})
        for number in range(20):
            repo.tag(f"v{number}")
        repository = git.Repository(git_server.url("fleet"))
        if is_ssh:
            repository = git.Repository(server.url("fleet"), Credentials(ssh=server.identity))
        with pytest.raises(giterrors.GitOperationError, match="MiB of references were sent"):
            await fetching.commit(repository, gitref.Newest("*"))


@pytest.mark.parametrize("leaf", [b"file", b""])
async def test_tree_that_contains_itself_over_and_over_is_refused(
    git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaf: bytes
) -> None:
    monkeypatch.setattr(gitstore, "MAX_FILES", 2000)
    repo = git_server.repo("fleet")
    repo.push({"file": "1"})
    blob = run_git(repo.work, "rev-parse", "HEAD:file")
    entries = f"100644 blob {blob}\tfile\n" if leaf else ""
    for _ in range(12):
        tree = mktree(repo, entries)
        entries = "".join(f"040000 tree {tree}\t{n}\n" for n in range(10))
    commit = run_git(repo.work, "commit-tree", "-m", "Bomb", mktree(repo, entries))
    run_git(repo.work, "push", "--quiet", "--force", "origin", f"{commit}:refs/heads/main")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        found = (await fetching.commit(git.Repository(git_server.url("fleet")))).tree(None)
        with pytest.raises(gitstore.TooLargeError, match="more than 2000 files or directories"):
            await fetching.threads.run(found.entries)


def mktree(repo: Repo, entries: str) -> str:
    path = repo.work / ".git" / "entries"
    path.write_text(entries)
    return run_git(repo.work, "-c", "alias.make=!git mktree < .git/entries", "make")


# Servers ---------------------------------------------------------------------------------------


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """Answer every request with some bytes and close the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.git"


KIND = b"Content-Type: application/x-git-upload-pack-advertisement\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + KIND
HELLO = b"001e# service=git-upload-pack\n0000"
REFS = b"003d" + b"a" * 40 + b" refs/heads/main\n0000"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 1000\r\n\r\n" + HELLO,
        OK + b"Content-Length: 12\r\n\r\n" + HELLO + REFS,
        OK + b"Content-Length: -5\r\n\r\n" + HELLO,
        OK + b"Content-Length: many\r\n\r\n" + HELLO[:9],
        OK + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + HELLO,
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + HELLO,
        OK + b"\r\n" + b"ffff# service=git-upload-pack\n",
        OK + b"\r\n" + b"zzzz# service=git-upload-pack\n",
        OK + b"\r\n" + b"0003# service=git-upload-pack\n",
        OK + b"\r\n" + HELLO + b"003dnot an object id refs/heads/main\n0000",
        OK + b"\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"\0" * 100,
    ],
)
async def test_server_that_lies_about_lengths_is_an_error_like_any_other(
    tmp_path: Path, answer: bytes
) -> None:
    async with saying(answer) as url, gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(giterrors.GitOperationError) as caught:
            await fetching.commit(git.Repository(url))
        assert f"unable to list remote for '{url}': " in caught.value.message
        async with asyncio.timeout(30):
            assert await fetching.threads.aclose()


async def test_server_that_stalls_in_the_middle_of_a_fetch_is_given_up_in_time(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.repo("fleet").push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        advertised = await fetching.fetcher.resolve(
            git.Repository(git_server.url("fleet")), gitfetch.MAIN
        )
        hurried = git.Repository(git_server.url("fleet"), timeout_s=0.3)
        with (
            git_server.stalled(),
            pytest.raises(giterrors.GitOperationError, match=r"unable to clone .* after 300ms"),
        ):
            await fetching.fetcher.fetch(hurried, gitfetch.MAIN, advertised)
    assert not list((tmp_path / "stores").rglob("receiving-*"))


async def test_redirect_of_the_fetch_itself_carries_no_credentials(tmp_path: Path) -> None:
    with (
        GitServer(tmp_path / "theirs") as theirs,
        GitServer(tmp_path / "git", basic=("ada", "secret")) as ours,
    ):
        ours.repo("fleet").push({"a": "1"})
        theirs.repo("fleet").push({"a": "evil"})
        async with gitfetch.running(tmp_path / "stores") as fetching:
            repository = git.Repository(ours.url("fleet"), Credentials("ada", "secret"))
            candidate = await fetching.fetcher.resolve(repository, gitfetch.MAIN)
            with (
                ours.redirecting(f"{theirs.url('fleet')}/git-upload-pack"),
                pytest.raises(giterrors.GitOperationError),
            ):
                await fetching.fetcher.fetch(repository, gitfetch.MAIN, candidate)
        assert {request.authorization for request in theirs.requests} <= {""}


async def test_expired_certificate(tmp_path: Path) -> None:
    past = dt.timedelta(minutes=-1)
    with GitServer(tmp_path / "git", tls=True, lifetime=past) as server:
        async with gitfetch.running(tmp_path / "stores") as fetching:
            repository = git.Repository(server.url("fleet"), Credentials(trust=Trust(server.ca)))
            with pytest.raises(giterrors.GitOperationError, match="certificate has expired"):
                await fetching.commit(repository)


async def test_branch_that_is_deleted_and_comes_back(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    repo.switch("other")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        await fetching.commit(repository)
        run_git(repo.bare, "update-ref", "-d", "refs/heads/main")
        with pytest.raises(giterrors.GitOperationError, match="couldn't find remote ref"):
            await fetching.commit(repository)
        sha = repo.push({"a": "2"})
        run_git(repo.work, "push", "--quiet", "origin", "other:main")
        assert (await fetching.commit(repository)).sha == sha
        assert await fetching.files(repository) == {"a": "2"}


# Room ------------------------------------------------------------------------------------------


async def test_full_disk_leaves_nothing_half_written_and_is_recovered_from(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    first = repo.push({"a": "1"})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(repository)
        sha = repo.push({"random": os.urandom(200_000)})
        candidate = await fetching.fetcher.resolve(repository, gitfetch.MAIN)
        with disk.full(100_000), pytest.raises(giterrors.GitOperationError, match="File too large"):
            await fetching.fetcher.fetch(repository, gitfetch.MAIN, candidate)
        assert not list((tmp_path / "stores").rglob("receiving-*"))
        assert not list((tmp_path / "stores").rglob("tmp*"))
        before = await fetching.fetcher.fetch(
            repository, gitfetch.MAIN, type(candidate)(first, "main")
        )
        assert await fetching.threads.run(before.tree(None).read, "a") == b"1"
        assert (await fetching.commit(repository)).sha == sha
