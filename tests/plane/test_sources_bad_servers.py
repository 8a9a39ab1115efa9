"""Servers that do not do as they should, and what the conditions of their sources say."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from api.charts import HelmRepository
from api.oci import OCIRepository
from api.source import GitRepository
from reconcilers import gitrepository, ocirepository
from reconcilers.helmrepository import HelmRepositoryReconciler
from runtime.errors import TransientError
from sources.oci import keychain
from tests.support import faults, reconciling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from api.meta import CustomObject
    from devcluster.access import Access
    from tests.support.faults import Faults
    from tests.support.reconciling import Desk, Reconciler

    Script = Callable[[str], Iterable[bytes | float]]

NAME, PASSWORD = "bad", "hunter2"
START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Kind:
    """A kind of source, and what its failures are called."""

    type: type[CustomObject]
    reconciler: Callable[[Any], Reconciler]
    url: str
    reason: str
    prefix: str
    certificates: str = "certSecretRef"
    media_type: str = "text/plain"
    """Of the answer that the server does not bring to its end."""
    body: bytes = b"#"
    """How it begins."""
    spec: dict[str, Any] | None = None

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    def script(self, *parts: bytes | float) -> Script:
        """Answer with the head of something of 100 bytes, then go on as told."""
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {self.media_type}", "Content-Length: 100"]
        begin = "\r\n".join([*lines, "", ""]).encode()

        def answer(head: str) -> Iterable[bytes | float]:
            if self.type is OCIRepository and not head.startswith("GET /v2/fleet/"):
                return [faults.answer()]  # it is a registry, and knows no HEAD of a manifest
            return [begin + self.body, *parts]

        return answer


KINDS = [
    Kind(
        GitRepository,
        gitrepository.reconciler,
        "http://{}/fleet",
        "GitOperationFailed",
        "failed to checkout and determine revision: ",
        certificates="secretRef",
        media_type="application/x-git-upload-pack-advertisement",
        body=b"0064",
    ),
    Kind(
        OCIRepository,
        ocirepository.reconciler,
        "oci://{}/fleet",
        "OCIArtifactPullFailed",
        "failed to determine artifact digest: ",
        spec={"insecure": True},
    ),
    Kind(
        HelmRepository,
        HelmRepositoryReconciler,
        "http://{}/charts",
        "Failed",
        "failed to fetch Helm repository index: ",
    ),
]
SOURCES = pytest.mark.parametrize("kind", KINDS, ids=lambda each: each.type.KIND)


@pytest.fixture
async def desk(cluster: Access, tmp_path: Path) -> AsyncIterator[Desk]:
    async with reconciling.running(cluster, tmp_path) as each:
        yield each


async def secret(desk: Desk, namespace: str, name: str, data: dict[str, str], kind: str) -> None:
    encoded = {key: base64.b64encode(each.encode()).decode() for key, each in data.items()}
    metadata = {"name": name, "namespace": namespace}
    head = {"apiVersion": "v1", "kind": "Secret", "type": kind}
    await desk.create({**head, "metadata": metadata, "data": encoded})


async def login(desk: Desk, namespace: str, kind: Kind, server: Faults) -> dict[str, Any]:
    """Write a login for the server, and return the field that names it."""
    entry = {"username": "ada", "password": PASSWORD}
    if kind.type is OCIRepository:
        config = {keychain.CONFIG_KEY: json.dumps({"auths": {server.endpoint: entry}})}
        await secret(desk, namespace, "login", config, "kubernetes.io/dockerconfigjson")
    else:
        await secret(desk, namespace, "login", entry, "Opaque")
    return {"secretRef": {"name": "login"}}


async def told(desk: Desk, namespace: str, kind: Kind, server: Faults, **spec: Any) -> str:
    """Return what the condition of such a source says, without its beginning."""
    version = f"{kind.type.GROUP}/{kind.type.VERSION}"
    wanted = {"url": kind.url.format(server.endpoint), "interval": "1m", "timeout": "60s"}
    await desk.create(
        {
            "apiVersion": version,
            "kind": kind.type.KIND,
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": wanted | (kind.spec or {}) | spec,
        }
    )
    with pytest.raises(TransientError):
        await desk.reconcile(kind.reconciler(desk.context), namespace, NAME)
    status = (await desk.live(kind.type, namespace, NAME))["status"]
    found = {each["type"]: each for each in status["conditions"]}
    assert "artifact" not in status
    assert found["FetchFailed"]["status"] == "True"
    assert found["Ready"]["status"] == "False"
    assert found["Ready"]["reason"] == found["FetchFailed"]["reason"] == kind.reason
    text: str = found["Ready"]["message"]
    assert text == found["FetchFailed"]["message"]
    assert PASSWORD not in text
    assert text.startswith(kind.prefix)
    return text.removeprefix(kind.prefix)


@SOURCES
@pytest.mark.parametrize(
    "parts",
    [[faults.STALL], [b"0", 0.2] * 50],
    ids=["stalls", "drips"],
)
async def test_server_that_takes_too_long_is_told(
    desk: Desk, namespace: str, kind: Kind, parts: list[bytes | float]
) -> None:
    async with faults.running(kind.script(*parts)) as server:
        text = await told(desk, namespace, kind, server, timeout="1s")
    assert re.search(r"within 1s|not done after 1s|timed out after 1s", text)


@SOURCES
async def test_server_that_does_not_answer_is_told(desk: Desk, namespace: str, kind: Kind) -> None:
    async with faults.running(lambda _: [faults.STALL]) as server:
        text = await told(desk, namespace, kind, server, timeout="1s")
    assert re.search(r"within 1s|not done after 1s|timed out after 1s", text)


@SOURCES
async def test_server_that_lies_about_the_length_is_told(
    desk: Desk, namespace: str, kind: Kind
) -> None:
    async with faults.running(kind.script()) as server:
        text = await told(desk, namespace, kind, server)
    assert "the connection before its answer was complete" in text


@SOURCES
async def test_credentials_do_not_follow_a_redirect_to_another_host(
    desk: Desk, namespace: str, kind: Kind
) -> None:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(
            faults.running(lambda _: [faults.answer(b"", "401 Unauthorized")])
        )
        location = f"Location: http://localhost:{other.port}/elsewhere"
        server = await stack.enter_async_context(
            faults.running(lambda _: [faults.answer(b"", "302 Found", location)])
        )
        names = await login(desk, namespace, kind, server)
        await told(desk, namespace, kind, server, **names)
    assert server.heads
    assert not [head for head in other.heads if "authorization" in head.lower()]


@SOURCES
@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_refused_login_is_told(desk: Desk, namespace: str, kind: Kind, status: str) -> None:
    def refuse(head: str) -> Iterable[bytes | float]:
        has_login = "authorization:" in head.lower()
        challenge = 'WWW-Authenticate: Basic realm="r"'
        return [faults.answer(b"", status if has_login else "401 Unauthorized", challenge)]

    async with faults.running(refuse) as server:
        names = await login(desk, namespace, kind, server)
        text = await told(desk, namespace, kind, server, **names)
    assert any("authorization:" in head.lower() for head in server.heads)
    assert re.search("refused|authorization failed|do not open", text)


@SOURCES
async def test_expired_certificate_is_told(desk: Desk, namespace: str, kind: Kind) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    end = START + dt.timedelta(days=1)
    authority.issue_cert("127.0.0.1", not_before=START, not_after=end).configure_cert(context)
    certificates = {"ca.crt": authority.cert_pem.bytes().decode()}
    await secret(desk, namespace, "certs", certificates, "Opaque")
    async with faults.running(lambda _: [faults.answer()], context) as server:
        spec: dict[str, Any] = {kind.certificates: {"name": "certs"}}
        if kind.scheme == "http":
            spec["url"] = kind.url.format(server.endpoint).replace("http", "https", 1)
        else:
            spec["insecure"] = False
        text = await told(desk, namespace, kind, server, **spec)
    assert "certificate has expired" in text
