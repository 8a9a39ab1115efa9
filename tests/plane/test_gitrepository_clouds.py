"""GitRepositories of clouds, opened by the identity of a ServiceAccount."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from devcluster.gitserver import GitServer
from runtime.errors import TransientError
from sources.auth import devops
from tests.support import reconciling
from tests.support.gitsource import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.reconciling import Desk

PREFIX = "failed to configure authentication options: "


@pytest.fixture
async def desk(cluster: Access, tmp_path: Path) -> AsyncIterator[Desk]:
    async with reconciling.running(cluster, tmp_path) as each:
        yield each
        await asyncio.to_thread(each.context.git.close)


async def account(desk: Desk, namespace: str, annotations: dict[str, str]) -> None:
    metadata = {"name": "reader", "namespace": namespace, "annotations": annotations}
    await desk.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


async def test_azure_devops_is_opened_by_the_clusters_word(
    desk: Desk, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = []

    async def entra(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split()[0])
        form = parse_qs((await reader.readexactly(length)).decode())
        payload = form["client_assertion"][0].split(".")[1]
        claims.append(json.loads(base64.urlsafe_b64decode(payload + "==")))
        body = b'{"access_token": "t0ken"}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    notes = {devops.CLIENT: "client", devops.TENANT: "tenant"}
    await account(desk, namespace, notes)
    with GitServer(tmp_path / "git", tls=True, bearer="t0ken") as git_server:
        sha = git_server.repo("fleet").push({"a": "1"})
        ca = base64.b64encode(git_server.ca).decode()
        secret = {"name": "ca", "namespace": namespace}
        await desk.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": {"ca.crt": ca}}
        )
        async with await asyncio.start_server(entra, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setattr(devops, "ENDPOINT", f"http://127.0.0.1:{port}/{{tenant}}")
            source = Source(desk, git_server, namespace)
            await source.apply(
                provider="azure", serviceAccountName="reader", secretRef={"name": "ca"}
            )
            await source.reconcile()
            await source.reconcile()
    assert source.status["artifact"]["revision"] == f"main@sha1:{sha}"
    (claim,) = claims  # one token for many fetches
    assert claim["aud"] == ["api://AzureADTokenExchange"]
    assert claim["sub"] == f"system:serviceaccount:{namespace}:reader"


@pytest.mark.parametrize(
    ("spec", "annotations", "text"),
    [
        ({"provider": "aws"}, {}, "AWS CodeCommit authentication requires an HTTPS Git URL"),
        (
            {"provider": "aws", "url": "https://git-codecommit.us-east-1.amazonaws.com/v1/repos/x"},
            {},
            "invalid eks.amazonaws.com/role-arn annotation: '' is no ARN of a role",
        ),
        ({"provider": "azure"}, {}, "Azure DevOps authentication requires an HTTPS Git URL"),
        (
            {"provider": "azure", "url": "https://dev.azure.com/a/b/_git/c"},
            {devops.TENANT: "t"},
            (
                "azure client ID is not set in the service account annotation "
                "azure.workload.identity/client-id"
            ),
        ),
    ],
)
async def test_account_or_url_that_does_not_do_is_named(
    desk: Desk,
    git_server: GitServer,
    namespace: str,
    spec: dict[str, Any],
    annotations: dict[str, str],
    text: str,
) -> None:
    source = Source(desk, git_server, namespace)
    await source.apply(**spec, serviceAccountName="reader")
    await source.fails(TransientError)
    assert source.conditions["FetchFailed"][2].startswith(
        f"{PREFIX}ServiceAccount '{namespace}/reader' cannot be read: "
    )
    await account(desk, namespace, annotations)
    await source.fails(TransientError)
    assert source.conditions["FetchFailed"] == ("True", "AuthenticationFailed", PREFIX + text)
