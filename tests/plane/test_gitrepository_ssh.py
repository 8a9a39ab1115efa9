"""``ssh://`` URLs on a real API server, with a real SSH server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runtime.errors import TerminalError
from tests.support import gitssh
from tests.support.gitsource import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.gitserver import GitServer
    from tests.support.gitssh import Server
    from tests.support.reconciling import Desk


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with gitssh.running(tmp_path / "git") as each:
        each.repo("fleet").push({"a": "1"})
        yield each


@pytest.fixture
def source(desk: Desk, git_server: GitServer, namespace: str) -> Source:
    return Source(desk, git_server, namespace)


async def apply(source: Source, server: Server, **spec: Any) -> None:
    identity = server.identity
    await source.desk.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "ssh", "namespace": source.namespace},
            "stringData": {
                "identity": identity.private_key.decode(),
                "known_hosts": identity.known_hosts.decode(),
            },
        }
    )
    base = {"url": server.url("fleet"), "secretRef": {"name": "ssh"}}
    await source.apply(**base | spec)


async def test_repository_is_fetched_over_ssh(source: Source, server: Server) -> None:
    await apply(source, server)
    await source.reconcile()
    assert source.conditions["Ready"][:2] == ("True", "Succeeded")
    assert source.names() == ["a"]


async def test_ssh_without_a_secret_says_what_it_needs(source: Source, server: Server) -> None:
    await source.apply(url=server.url("fleet"))
    await source.fails()
    _, reason, text = source.conditions["Ready"]
    assert reason == "AuthenticationFailed"
    assert text.endswith("an ssh URL needs a secretRef with 'identity' and 'known_hosts'")


async def test_proxy_for_ssh_is_refused(source: Source, server: Server) -> None:
    await apply(source, server, proxySecretRef={"name": "proxy"})
    await source.fails()
    assert source.conditions["Ready"][2] == (
        "failed to configure proxy options: proxies are for http and https, not for ssh"
    )


@pytest.mark.parametrize("url", ["ssh://git@host", "ssh:///fleet.git", "ssh://git@host:x/y"])
async def test_url_that_names_no_repository_is_stalled(
    source: Source, server: Server, url: str
) -> None:
    await apply(source, server, url=url)
    await source.fails(TerminalError)
    assert source.conditions["Stalled"][1] == "URLInvalid"
