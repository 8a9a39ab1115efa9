"""Git over SSH: the system's ``ssh`` against a real SSH server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from runtime.errors import TransientError
from sources import git
from sources.auth import ssh
from sources.auth.basic import Credentials
from tests.support import gitfetch, gitssh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sources.auth.ssh import Identity
    from tests.support.gitssh import Server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with gitssh.running(tmp_path / "git") as each:
        each.repo("fleet").push({"a": "1"})
        yield each


def repository(
    server: Server, identity: Identity | None = None, name: str = "fleet"
) -> git.Repository:
    return git.Repository(
        server.url(name), Credentials(ssh=identity or server.identity), timeout_s=20
    )


async def failure(server: Server, directory: Path, each: git.Repository) -> str:
    async with gitfetch.running(directory / "stores") as fetching:
        with pytest.raises(TransientError) as caught:
            await fetching.commit(each)
    assert caught.value.reason == "GitOperationFailed"
    return caught.value.message


async def test_branch_is_fetched_and_followed(server: Server, tmp_path: Path) -> None:
    async with gitfetch.running(tmp_path / "stores") as fetching:
        assert await fetching.files(repository(server)) == {"a": "1"}
        sha = server.repo("fleet").push({"a": "2", "b/c": "3"})
        assert (await fetching.commit(repository(server))).sha == sha
        assert await fetching.files(repository(server)) == {"a": "2", "b/c": "3"}
    assert set(server.users) == {"git"}


async def test_push_transfers_only_what_is_new(server: Server, tmp_path: Path) -> None:
    repo = server.repo("fleet")
    repo.push({f"files/{n}.txt": os.urandom(200).hex() for n in range(200)})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        first = await fetching.commit(repository(server))
        whole = await fetching.threads.run(first.store.pack_bytes)
        repo.push({"files/7.txt": "changed"})
        await fetching.commit(repository(server))
        assert await fetching.threads.run(first.store.pack_bytes) - whole < whole / 5


async def test_listing_and_fetch_share_a_connection_that_ends_with_the_fetcher(
    server: Server, tmp_path: Path
) -> None:
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(repository(server))
        server.repo("fleet").push({"a": "2"})
        await fetching.commit(repository(server))
        assert len(server.users) == 4
        assert len(server.connections) == 1
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(repository(server))
        assert len(server.connections) == 2


async def test_connection_that_was_lost_is_made_again(server: Server, tmp_path: Path) -> None:
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(repository(server))
        sha = server.repo("fleet").push({"a": "2"})
        server.hang_up()
        assert (await fetching.commit(repository(server))).sha == sha
        assert len(server.connections) == 2


async def test_folder_that_somebody_tidied_away_is_made_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = tempfile.mkdtemp

    def noting(*arguments: Any, **options: Any) -> str:
        made.append(str(make(*arguments, **options)))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", noting)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(repository(server))
        (folder,) = [each for each in made if "gitopsd-ssh-" in each]
        shutil.rmtree(folder)
        sha = server.repo("fleet").push({"a": "2"})
        assert (await fetching.commit(repository(server))).sha == sha


async def test_other_key_goes_by_a_connection_of_its_own(server: Server, tmp_path: Path) -> None:
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(repository(server))
        other = gitssh.key("ssh-ed25519", "other").export_private_key()
        stranger = replace(server.identity, private_key=other)
        with pytest.raises(TransientError, match="the server refused the key"):
            await fetching.commit(repository(server, stranger))


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("ssh-ed25519", "ecdsa-sha2-nistp256"),
        ("ecdsa-sha2-nistp384", "ssh-rsa"),
        ("ssh-rsa", "ssh-ed25519"),
    ],
)
async def test_key_types_that_people_have(tmp_path: Path, host: str, client: str) -> None:
    async with gitssh.running(tmp_path / "git", host=host, client=client) as server:
        server.repo("fleet").push({"a": "1"})
        async with gitfetch.running(tmp_path / "stores") as fetching:
            assert await fetching.files(repository(server)) == {"a": "1"}


async def test_rsa_key_in_the_older_format(tmp_path: Path) -> None:
    async with gitssh.running(tmp_path / "git", client="ssh-rsa") as server:
        server.repo("fleet").push({"a": "1"})
        pem = server.client_key.export_private_key("pkcs1-pem")
        async with gitfetch.running(tmp_path / "stores") as fetching:
            each = repository(server, replace(server.identity, private_key=pem))
            assert await fetching.files(each) == {"a": "1"}


async def test_encrypted_key_is_opened_with_its_passphrase(server: Server, tmp_path: Path) -> None:
    encrypted = _encrypted(server)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        each = repository(
            server, replace(server.identity, private_key=encrypted, passphrase=b"open it")
        )
        assert await fetching.files(each) == {"a": "1"}


async def test_wrong_passphrase_is_named(server: Server, tmp_path: Path) -> None:
    identity = replace(server.identity, private_key=_encrypted(server), passphrase=b"wrong")
    message = await failure(server, tmp_path, repository(server, identity))
    assert message.endswith("the 'password' of the secret does not open its 'identity'")


def _encrypted(server: Server, *options: str) -> bytes:
    """Return the client's key as ``ssh-keygen`` encrypts it."""
    file = server.root / "key"
    file.touch(mode=0o600)
    file.write_bytes(server.client_key.export_private_key())
    line = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open it", "-f", str(file), *options]
    subprocess.run(line, check=True, capture_output=True)
    key = file.read_bytes()
    file.unlink()
    assert ssh.is_encrypted(key)
    return key


async def test_encrypted_key_in_the_older_format(tmp_path: Path) -> None:
    async with gitssh.running(tmp_path / "git", client="ssh-rsa") as server:
        server.repo("fleet").push({"a": "1"})
        pem = _encrypted(server, "-m", "PEM")
        identity = replace(server.identity, private_key=pem, passphrase=b"open it")
        async with gitfetch.running(tmp_path / "stores") as fetching:
            assert await fetching.files(repository(server, identity)) == {"a": "1"}


async def test_key_of_a_format_that_ssh_does_not_read(server: Server, tmp_path: Path) -> None:
    pem = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    identity = replace(server.identity, private_key=pem)
    message = await failure(server, tmp_path, repository(server, identity))
    assert message.endswith("of a type or format that ssh does not read")


async def test_key_that_the_server_does_not_know(server: Server, tmp_path: Path) -> None:
    other = gitssh.key("ssh-ed25519", "other").export_private_key()
    message = await failure(
        server, tmp_path, repository(server, replace(server.identity, private_key=other))
    )
    assert message.endswith("authentication failed: the server refused the key for user 'git'")


async def test_changed_host_key_is_refused_with_what_to_do(server: Server, tmp_path: Path) -> None:
    known = server.known_hosts(gitssh.key("ssh-ed25519", "other"))
    message = await failure(
        server, tmp_path, repository(server, replace(server.identity, known_hosts=known))
    )
    assert "the host key of 127.0.0.1 has changed and is not the one in 'known_hosts'" in message
    assert f"`ssh-keyscan -p {server.port} 127.0.0.1`" in message
    assert not server.users


async def test_host_that_is_not_known_is_refused(server: Server, tmp_path: Path) -> None:
    known = server.known_hosts().replace(b"127.0.0.1", b"example.com")
    message = await failure(
        server, tmp_path, repository(server, replace(server.identity, known_hosts=known))
    )
    assert "'known_hosts' of the secret has no key of 127.0.0.1" in message


async def test_missing_repository(server: Server, tmp_path: Path) -> None:
    message = await failure(server, tmp_path, repository(server, name="other"))
    assert message.endswith("repository not found")


async def test_server_that_is_away(server: Server, tmp_path: Path) -> None:
    each = replace(repository(server), url="ssh://git@127.0.0.1:1/fleet.git")
    assert "Connection refused" in await failure(server, tmp_path, each)


async def test_server_that_does_not_answer_is_given_up(server: Server, tmp_path: Path) -> None:
    server.is_stalled = True
    message = await failure(server, tmp_path, replace(repository(server), timeout_s=2))
    assert message.endswith("timed out after 2s")


async def test_user_of_the_url_logs_in(server: Server, tmp_path: Path) -> None:
    credentials = Credentials(ssh=server.identity)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(git.Repository(server.url("fleet", "ada@"), credentials))
        await fetching.commit(git.Repository(server.url("fleet", ""), credentials))
    assert set(server.users) == {"ada", "git"}


async def test_nothing_of_the_key_is_left_behind(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    identity = replace(server.identity, private_key=_encrypted(server), passphrase=b"open it")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await fetching.commit(repository(server, identity))
    assert not list(folder.iterdir())
    secret = server.client_key.export_private_key()
    stored = [each.read_bytes() for each in (tmp_path / "stores").rglob("*") if each.is_file()]
    assert not any(secret[40:120] in content for content in stored)


def test_same_remote_with_another_key_shares_nothing() -> None:
    one, two = ssh.Identity(b"a", b"h"), ssh.Identity(b"b", b"h")
    keys = {git.Repository("ssh://h/x", Credentials(ssh=each)).key for each in (one, two, None)}
    assert len(keys) == 3
