"""OCIRepositories of clouds, opened by the identity of a ServiceAccount.

The clouds are local servers that look at what they are asked, the cluster's word included.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from api.oci import OCIRepository
from reconcilers.ocirepository import cloud
from runtime.errors import TransientError
from sources.auth import devops, roles
from sources.auth.errors import CredentialsError
from sources.oci import clouds
from sources.oci.keychain import Login
from tests.support import reconciling
from tests.support.ocisource import NAME, Source
from tests.support.registry import Registry, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.reconciling import Desk

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
ACR = "acme.azurecr.io"
GAR = "europe-west1-docker.pkg.dev"
ROLE = "arn:aws:iam::123456789012:role/reader"
POOL = "projects/1/locations/global/workloadIdentityPools/pool/providers/home"
EMAIL = "reader@acme.iam.gserviceaccount.com"
KEYS = """<R xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Credentials>
<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>session</SessionToken><Expiration>2036-01-02T01:00:00Z</Expiration></Credentials></R>"""


class Clouds:
    """All three of them. What they are asked is in `asked`, by the path of each."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.status = 200

    async def answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        form = {name: values[0] for name, values in parse_qs(text).items()}
        self.asked[request.path] = form or text
        self.headers = dict(request.headers)
        if self.status != 200:
            return web.json_response({"error_description": "no such role"}, status=self.status)
        if request.path == "/sts":
            return web.Response(text=KEYS)
        ends_at = 2_082_758_400
        token = base64.b64encode(b"AWS:ecr-password").decode()
        authorization = {"authorizationToken": token, "expiresAt": ends_at}
        return web.json_response(
            {
                "/ecr": {"authorizationData": [authorization]},
                "/public": {"authorizationData": authorization},
                "/entra": {"access_token": "entra"},
                "/acr": {"refresh_token": "acr-refresh"},
                "/google": {"access_token": "google"},
                f"/impersonation/{EMAIL}": {
                    "accessToken": "as-reader",
                    "expireTime": "2036-01-02T01:00:00Z",
                },
            }[request.path]
        )

    def subject(self, path: str, field: str) -> dict[str, Any]:
        """Return what the cluster's word said that was sent somewhere."""
        payload = self.asked[path][field].split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
        return claims


@pytest.fixture
async def providers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clouds]:
    serving = Clouds()
    app = web.Application()
    app.router.add_post("/{path:.*}", serving.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", serving.port).start()
    base = f"http://127.0.0.1:{serving.port}"
    monkeypatch.setattr(roles, "ENDPOINT", f"{base}/sts")
    monkeypatch.setattr(devops, "ENDPOINT", f"{base}/entra")
    for name, path in (
        ("ECR_ENDPOINT", "/ecr"),
        ("PUBLIC_ECR_ENDPOINT", "/public"),
        ("ACR_ENDPOINT", "/acr"),
        ("GOOGLE_ENDPOINT", "/google"),
        ("IMPERSONATION_ENDPOINT", "/impersonation/{email}"),
    ):
        monkeypatch.setattr(clouds, name, f"{base}{path}")
    yield serving
    await runner.cleanup()


@pytest.fixture
async def desk(cluster: Access, tmp_path: Path) -> AsyncIterator[Desk]:
    async with reconciling.running(cluster, tmp_path) as each:
        yield each


@pytest.fixture
def source(desk: Desk, namespace: str, tmp_path: Path) -> Source:
    return Source(desk, Registry(tmp_path / "none", port=1), namespace)


async def account(source: Source, annotations: dict[str, str]) -> None:
    metadata = {"name": "reader", "namespace": source.namespace, "annotations": annotations}
    await source.desk.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


async def lent(source: Source, provider: str, host: str) -> Login:
    """Return what an object of a provider is lent for a registry."""
    await source.apply(
        url=f"oci://{host}/app", provider=provider, serviceAccountName="reader", suspend=True
    )
    await source.desk.caught_up()
    obj = source.desk.context.informer(OCIRepository).get(source.namespace, NAME)
    assert obj is not None
    return await cloud.login(source.desk.context, obj, host, None)


async def test_aws_lends_by_a_role(source: Source, providers: Clouds) -> None:
    await account(source, {roles.ROLE: ROLE})
    assert await lent(source, "aws", ECR) == Login("AWS", "ecr-password")
    claims = providers.subject("/sts", "WebIdentityToken")
    assert claims["aud"] == ["sts.amazonaws.com"]
    assert claims["sub"] == f"system:serviceaccount:{source.namespace}:reader"
    assert providers.asked["/sts"]["RoleArn"] == ROLE
    assert providers.asked["/ecr"] == "{}"
    target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    assert providers.headers["X-Amz-Target"] == target
    authorization = providers.headers["Authorization"]
    assert "/eu-west-1/ecr/aws4_request, SignedHeaders=content-type;host;" in authorization
    assert providers.headers["x-amz-security-token"] == "session"


async def test_public_registry_of_aws(source: Source, providers: Clouds) -> None:
    await account(source, {roles.ROLE: ROLE})
    assert await lent(source, "aws", clouds.PUBLIC_ECR) == Login("AWS", "ecr-password")
    assert "/us-east-1/ecr-public/aws4_request" in providers.headers["Authorization"]


async def test_azure_lends_by_an_application(source: Source, providers: Clouds) -> None:
    await account(source, {devops.TENANT: "tenant", devops.CLIENT: "client"})
    user = "00000000-0000-0000-0000-000000000000"
    assert await lent(source, "azure", ACR) == Login(user, "acr-refresh")
    assert providers.subject("/entra", "client_assertion")["aud"] == ["api://AzureADTokenExchange"]
    assert providers.asked["/entra"]["scope"] == clouds.ACR_SCOPE
    assert providers.asked["/acr"] == {
        "grant_type": "access_token",
        "service": ACR,
        "access_token": "entra",
    }


@pytest.mark.parametrize(("email", "token"), [("", "google"), (EMAIL, "as-reader")])
async def test_google_lends_by_a_pool(
    source: Source, providers: Clouds, email: str, token: str
) -> None:
    annotations = {clouds.GCP_PROVIDER: POOL} | ({clouds.GCP_ACCOUNT: email} if email else {})
    await account(source, annotations)
    assert await lent(source, "gcp", GAR) == Login("oauth2accesstoken", token)
    audience = f"//iam.googleapis.com/{POOL}"
    assert providers.asked["/google"]["audience"] == audience
    assert providers.subject("/google", "subject_token")["aud"] == [audience]
    if email:
        assert providers.headers["Authorization"] == "Bearer google"


@pytest.mark.parametrize(
    ("provider", "host", "annotations"),
    [
        ("aws", ECR, {roles.ROLE: ROLE}),
        ("azure", ACR, {devops.TENANT: "tenant", devops.CLIENT: "client"}),
        ("gcp", GAR, {clouds.GCP_PROVIDER: POOL}),
    ],
)
async def test_cloud_that_lends_nothing_is_told_without_the_word_it_got(
    source: Source,
    providers: Clouds,
    provider: str,
    host: str,
    annotations: dict[str, str],
) -> None:
    providers.status = 403
    await account(source, annotations)
    with pytest.raises(CredentialsError) as caught:
        await lent(source, provider, host)
    assert "eyJ" not in str(caught.value)
    assert "403" in str(caught.value) or "no such role" in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "host", "annotations", "text"),
    [
        ("aws", "ghcr.io", {roles.ROLE: ROLE}, "invalid AWS registry: 'ghcr.io'"),
        ("aws", ECR, {}, "invalid eks.amazonaws.com/role-arn annotation: '' is no ARN"),
        ("azure", "ghcr.io", {}, "invalid Azure registry: 'ghcr.io'"),
        ("azure", ACR, {}, "azure tenant ID is not set in the service account annotation"),
        ("gcp", "ghcr.io", {}, "invalid GCP registry: 'ghcr.io'"),
        ("gcp", GAR, {}, "invalid gcp.auth.fluxcd.io/workload-identity-provider annotation: ''"),
    ],
)
async def test_account_or_registry_that_does_not_do_is_named(
    source: Source, provider: str, host: str, annotations: dict[str, str], text: str
) -> None:
    spec: dict[str, Any] = {"url": f"oci://{host}/app", "provider": provider}
    await account(source, annotations)
    await source.apply(**spec, serviceAccountName="reader")
    await source.fails(TransientError)
    status, reason, message = source.conditions["Ready"]
    assert (status, reason) == ("False", "AuthenticationFailed")
    assert message.startswith(f"failed to get credential from {provider}: {text}")
