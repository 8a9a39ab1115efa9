"""What people read when a Git server, or what is stored of it, does not do as it should."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from api.source import GitRef
from devcluster.gitserver import GitServer
from runtime.errors import TransientError
from sources import git, giterrors, gitref, gitstore
from sources.auth.basic import Credentials
from sources.auth.errors import CredentialsError
from sources.auth.tls import Trust
from tests.support import gitfetch

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "failed to checkout and determine revision: "


async def failure(
    repository: git.Repository,
    directory: Path,
    reference: gitref.Reference = gitfetch.MAIN,
) -> TransientError:
    """Return how fetching ends."""
    async with gitfetch.running(directory) as fetching:
        with pytest.raises(TransientError) as caught:
            await fetching.commit(repository, reference)
    return caught.value


async def test_empty_repository_is_named_as_such(git_server: GitServer, tmp_path: Path) -> None:
    git_server.repo("fleet")
    error = await failure(git.Repository(git_server.url("fleet")), tmp_path / "stores")
    assert (error.reason, error.message) == ("EmptyGitRepository", "git repository is empty")


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (GitRef(branch="nope"), 'couldn\'t find remote ref "refs/heads/nope"'),
        (GitRef(tag="nope"), 'couldn\'t find remote ref "refs/tags/nope"'),
        (GitRef(name="refs/pull/9/head"), 'couldn\'t find remote ref "refs/pull/9/head"'),
        (GitRef(semver=">9"), "no match found for semver: >9"),
        (GitRef(semver="latest"), 'semver parse error: improper constraint: "latest"'),
        (GitRef(commit="abc"), "give the full SHA-1"),
        (GitRef(commit="a" * 40, branch="nope"), "couldn't find remote ref"),
        (GitRef(commit="a" * 40), f"object {'a' * 40} not found"),
    ],
)
async def test_reference_that_means_nothing_is_named(
    git_server: GitServer, tmp_path: Path, ref: GitRef, text: str
) -> None:
    git_server.repo("fleet").push({"a": "1"})
    repository = git.Repository(git_server.url("fleet"))
    error = await failure(repository, tmp_path / "stores", gitref.reference(ref))
    assert error.reason == "GitOperationFailed"
    assert error.message.startswith(f"{PREFIX}unable to clone '{repository.url}': ")
    assert text in error.message


async def test_branch_whose_name_begins_the_same_is_not_taken(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.repo("fleet", branch="maintenance").push({"a": "1"})
    error = await failure(git.Repository(git_server.url("fleet")), tmp_path / "stores")
    assert "couldn't find remote ref" in error.message


async def test_missing_repository(git_server: GitServer, tmp_path: Path) -> None:
    git_server.repo("fleet")
    error = await failure(git.Repository(git_server.url("other")), tmp_path / "stores")
    assert error.message.endswith("repository not found")


@pytest.mark.parametrize(
    ("credentials", "text"),
    [
        (Credentials(), "authentication required"),
        (
            Credentials("ada", "wrong"),
            "authentication failed: the server refused the credentials",
        ),
        (
            Credentials(bearer_token="wrong"),
            "authentication failed: the server refused the credentials",
        ),
    ],
)
async def test_refused_credentials(tmp_path: Path, credentials: Credentials, text: str) -> None:
    with GitServer(tmp_path / "git", basic=("ada", "secret")) as server:
        server.repo("fleet").push({"a": "1"})
        error = await failure(git.Repository(server.url("fleet"), credentials), tmp_path / "stores")
    assert error.message.endswith(text)
    assert "wrong" not in error.message


async def test_username_and_password_are_presented(tmp_path: Path) -> None:
    with GitServer(tmp_path / "git", basic=("ada", "secret")) as server:
        server.repo("fleet").push({"a": "1"})
        async with gitfetch.running(tmp_path / "stores") as fetching:
            repository = git.Repository(server.url("fleet"), Credentials("ada", "secret"))
            assert await fetching.files(repository) == {"a": "1"}


async def test_bearer_token_is_presented(tmp_path: Path) -> None:
    with GitServer(tmp_path / "git", bearer="t0ken") as server:
        server.repo("fleet").push({"a": "1"})
        async with gitfetch.running(tmp_path / "stores") as fetching:
            repository = git.Repository(server.url("fleet"), Credentials(bearer_token="t0ken"))
            assert await fetching.files(repository) == {"a": "1"}


async def test_different_credentials_share_nothing(tmp_path: Path) -> None:
    with GitServer(tmp_path / "git", basic=("ada", "secret")) as server:
        server.repo("fleet").push({"a": "1"})
        async with gitfetch.running(tmp_path / "stores") as fetching:
            good = git.Repository(server.url("fleet"), Credentials("ada", "secret"))
            await fetching.commit(good)
            bad = git.Repository(server.url("fleet"), Credentials("eve", "guess"))
            with pytest.raises(giterrors.GitOperationError, match="refused"):
                await fetching.commit(bad)


async def test_forbidden_repository(git_server: GitServer, tmp_path: Path) -> None:
    with git_server.refusing(403):
        error = await failure(git.Repository(git_server.url("fleet")), tmp_path / "stores")
    assert error.message.endswith("authorization failed: HTTP status 403")


async def test_server_error(git_server: GitServer, tmp_path: Path) -> None:
    with git_server.refusing(503):
        error = await failure(git.Repository(git_server.url("fleet")), tmp_path / "stores")
    assert error.message.endswith("unexpected answer: HTTP status 503")


async def test_host_that_refuses_connections(tmp_path: Path) -> None:
    with GitServer(tmp_path / "git") as server:
        url = server.url("fleet")
    error = await failure(git.Repository(url), tmp_path / "stores")
    assert "cannot connect: " in error.message
    assert "refused" in error.message


async def test_host_that_does_not_exist(tmp_path: Path) -> None:
    error = await failure(git.Repository("http://nope.invalid/x.git"), tmp_path / "stores")
    assert "cannot resolve the host name" in error.message


async def test_connection_that_is_closed_at_once(git_server: GitServer, tmp_path: Path) -> None:
    with git_server.hanging_up():
        error = await failure(git.Repository(git_server.url("fleet")), tmp_path / "stores")
    assert "the server closed the connection" in error.message


async def test_connection_lost_while_references_are_listed_is_made_again(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.repo("fleet").push({"a": "1"})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching, asyncio.TaskGroup() as tasks:
        with git_server.hanging_up():
            asked = tasks.create_task(fetching.files(repository))
            await asyncio.to_thread(git_server.wait_for_requests, 1)
    assert asked.result() == {"a": "1"}


async def test_answer_that_is_cut_off_leaves_nothing_half_done(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    repo.push({f"{n}.bin": os.urandom(4096) for n in range(40)})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with git_server.cutting_off(50_000), pytest.raises(giterrors.GitOperationError):
            await fetching.commit(repository)
        tree = (await fetching.commit(repository)).tree(None)
        assert len(await fetching.threads.run(tree.entries)) == 40
    assert not list((tmp_path / "stores").rglob("receiving-*"))


async def test_server_with_a_certificate_of_an_unknown_authority(tmp_path: Path) -> None:
    with GitServer(tmp_path / "git", tls=True) as server:
        error = await failure(git.Repository(server.url("fleet")), tmp_path / "stores")
    assert "TLS handshake failed: certificate verify failed" in error.message


async def test_server_with_a_certificate_of_the_given_authority(tmp_path: Path) -> None:
    with GitServer(tmp_path / "git", tls=True) as server:
        server.repo("fleet").push({"a": "1"})
        async with gitfetch.running(tmp_path / "stores") as fetching:
            repository = git.Repository(server.url("fleet"), Credentials(trust=Trust(server.ca)))
            assert await fetching.files(repository) == {"a": "1"}


async def test_authority_that_is_no_certificate(tmp_path: Path) -> None:
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(
            "https://127.0.0.1:1/x.git", Credentials(trust=Trust(b"nonsense"))
        )
        with pytest.raises(CredentialsError, match="invalid CA certificate"):
            await fetching.commit(repository)


async def test_server_that_is_no_git_server(tmp_path: Path) -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nhey!")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        repository = git.Repository(f"http://127.0.0.1:{port}/x.git")
        error = await failure(repository, tmp_path / "stores")
    assert "not a Git repository: the server answered 'text/html'" in error.message


async def test_redirect_to_another_host_carries_no_credentials(tmp_path: Path) -> None:
    with GitServer(tmp_path / "git", basic=("ada", "secret")) as target:
        target.repo("fleet").push({"a": "1"})

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            location = f"{target.url('fleet')}/info/refs?service=git-upload-pack"
            head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}/fleet.git"
            error = await failure(
                git.Repository(url, Credentials("ada", "secret")), tmp_path / "stores"
            )
        assert "refused the credentials" in error.message
        assert [request.authorization for request in target.requests] == [""]


async def test_server_that_never_answers_is_given_up_in_time(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.repo("fleet").push({"a": "1"})
    repository = git.Repository(git_server.url("fleet"), timeout_s=0.3)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with git_server.stalled():
            with pytest.raises(giterrors.GitOperationError, match="timed out after 300ms"):
                await fetching.commit(repository)
            async with asyncio.timeout(30):  # the thread is free again although nothing answered
                assert await fetching.threads.aclose()


async def test_server_that_drips_is_given_up_in_time(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        kind = b"application/x-git-upload-pack-advertisement"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n\r\n")
        try:
            while not reader.at_eof():
                writer.write(b"0")
                await writer.drain()
                async with asyncio.timeout(0.05):
                    await reader.read(1)
        except TimeoutError:
            pass
        finally:
            ended.set()
            writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        repository = git.Repository(f"http://127.0.0.1:{port}/x.git", timeout_s=0.3)
        error = await failure(repository, tmp_path / "stores")
        await ended.wait()
    assert "unable to list remote" in error.message


async def test_cancelled_fetch_frees_its_thread(git_server: GitServer, tmp_path: Path) -> None:
    git_server.repo("fleet").push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        with git_server.stalled():
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(fetching.commit(repository))
                await fetching.threads.run(git_server.wait_for_requests, 1)
                waiting.cancel()
            assert await fetching.threads.aclose()


async def test_listing_goes_on_for_the_others_when_its_first_caller_is_cancelled(
    git_server: GitServer, tmp_path: Path
) -> None:
    sha = git_server.repo("fleet").push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        async with asyncio.TaskGroup() as tasks:
            with git_server.stalled():
                first = tasks.create_task(fetching.commit(repository))
                await fetching.threads.run(git_server.wait_for_requests, 1)
                second = tasks.create_task(fetching.commit(repository))
                first.cancel()
        assert second.result().sha == sha


def damage(directory: Path, pattern: str) -> None:
    (victim,) = directory.rglob(pattern)
    victim.chmod(0o600)
    victim.write_bytes(b"\0" * victim.stat().st_size)


async def test_damaged_state_is_fetched_anew(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1", "b": "2"})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(repository)
    damage(tmp_path, "state.json")
    repo.push({"a": "2"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        assert await fetching.files(repository) == {"a": "2", "b": "2"}


@pytest.mark.parametrize("what", ["*.pack", "*.idx"])
async def test_damaged_objects_are_noticed_and_can_be_discarded(
    git_server: GitServer, tmp_path: Path, what: str
) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1", "b": "text " * 1000})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(repository)
    damage(tmp_path, what)
    repo.push({"a": "2"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(gitstore.DamagedError):
            await fetching.files(repository)
        await fetching.fetcher.discard(repository)
        assert await fetching.files(repository) == {"a": "2", "b": "text " * 1000}


async def test_store_without_the_base_of_a_delta_is_fetched_anew(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    text = "".join(f"line {n}\n" for n in range(2000))
    repo.push({"long": text})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        store = (await fetching.commit(repository)).store
    for path in (store.objects_directory / "pack").iterdir():
        path.unlink()
    repo.push({"long": text + "one more\n"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        assert await fetching.files(repository) == {"long": text + "one more\n"}


async def test_leftovers_of_a_crash_are_swept(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        store = (await fetching.commit(repository)).store
    packs = store.objects_directory / "pack"
    for name in ("tmpabc.pack", "pack-dead.pack", "pack-beef.idx.lock"):
        (packs / name).write_bytes(b"half")
    (store.directory / "receiving-x").write_bytes(b"half")
    (store.directory / "objects-9").mkdir()
    sha = repo.push({"a": "2"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        assert (await fetching.commit(repository)).sha == sha
    assert not [path for path in packs.iterdir() if path.read_bytes() == b"half"]
    assert {path.name for path in store.directory.iterdir()} == {"state.json", "objects-0"}


async def test_compacted_store_keeps_what_is_read_and_goes_on(
    git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gitstore, "_MAX_PACKS", 2)
    repo = git_server.repo("fleet")
    repo.push({"a": "0", "big": "text " * 1000})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        commit = await fetching.commit(repository)
        old, store = commit.tree(None), commit.store
        for turn in range(1, 4):
            repo.push({"a": str(turn)})
            await fetching.commit(repository)
        await fetching.fetcher.tidy(repository)
        assert len(await fetching.threads.run(list, store._packs())) == 1
        assert await fetching.threads.run(old.read, "a") == b"0"
        repo.push({"a": "next"})
        files = await fetching.files(repository)
        assert files == {"a": "next", "big": "text " * 1000}


async def test_large_pack_is_indexed_by_a_child(
    git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_server.repo("fleet").push({f"{n}.bin": os.urandom(65536) for n in range(80)})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        ran = []
        run = fetching.fetcher._processes.run

        async def recording(argv: list[str], **options: Any) -> object:
            ran.append(argv[4])
            return await run(argv, **options)

        monkeypatch.setattr(fetching.fetcher._processes, "run", recording)
        tree = (await fetching.commit(git.Repository(git_server.url("fleet")))).tree(None)
        assert ran == ["ingest"]
        assert len(await fetching.threads.run(tree.entries)) == 80


async def test_reset_while_nobody_fetches(git_server: GitServer, tmp_path: Path) -> None:
    git_server.repo("fleet").push({"a": "1"})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        commit = await fetching.commit(repository)
        assert await fetching.fetcher.recall(repository, commit.candidate) is not None
        await fetching.fetcher.discard(repository)
        assert await fetching.fetcher.recall(repository, commit.candidate) is None
        assert await fetching.files(repository) == {"a": "1"}


async def test_unused_store_is_deleted_when_another_is_opened(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.repo("fleet").push({"a": "1"})
    git_server.repo("other").push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        store = (await fetching.commit(git.Repository(git_server.url("fleet")))).store
    os.utime(store.directory, (0, 0))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(git.Repository(git_server.url("other")))
    assert not store.directory.exists()
