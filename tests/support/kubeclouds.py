"""Clouds that have one Kubernetes cluster: their token services, what they say of it, its doorman.

Google's has a service of keys besides.

Each verifies what it is shown: signatures of AWS by botocore, tokens by having handed them out, the
cluster's word about a ServiceAccount by subject and audience. The doorman is what the API server
asks about bearer tokens (a webhook token authenticator), as that of EKS does.

::

    async with kubeclouds.serving(server, authority, listener, patch) as cloud:
        cloud.name["aws"]      # how AWS calls the cluster
        cloud.user["aws"]      # whom the API server takes its tokens for
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import itertools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from aiohttp import web
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from sources.auth import devops, roles
from sources.auth.clusters import aks, eks, gke
from sources.oci import clouds

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    import pytest

REGION: Final = "eu-west-1"
ROLE: Final = "arn:aws:iam::123456789012:role/deployer"
TENANT, APPLICATION = "tenant-1", "application-1"
POOL: Final = "projects/1/locations/global/workloadIdentityPools/pool/providers/home"
EMAIL: Final = "deployer@acme.iam.gserviceaccount.com"
NAMES: Final = {
    "aws": f"arn:aws:eks:{REGION}:123456789012:cluster/prod",
    "azure": "/subscriptions/12345678-1234-1234-1234-123456789012/resourceGroups/group"
    "/providers/Microsoft.ContainerService/managedClusters/prod",
    "gcp": "projects/acme/locations/europe-west1/clusters/prod",
}
"""How each cloud calls the cluster."""
USERS: Final = {"aws": ROLE, "azure": APPLICATION, "gcp": EMAIL}
"""Whom the API server takes for the bearer of what each lends."""
NOTES: Final = {
    roles.ROLE: ROLE,
    devops.TENANT: TENANT,
    devops.CLIENT: APPLICATION,
    clouds.GCP_PROVIDER: POOL,
    clouds.GCP_ACCOUNT: EMAIL,
}
"""The annotations of a ServiceAccount that may be somebody in all three."""
AUDIENCES: Final = {
    "aws": "sts.amazonaws.com",
    "azure": "api://AzureADTokenExchange",
    "gcp": f"//iam.googleapis.com/{POOL}",
}
KEY: Final = Credentials("ASIALENT", "lent-secret", "lent/session+token=")
"""What AWS lends to the role."""
MACHINE: Final = Credentials("AKIAMACHINE", "machine-secret")
"""The keys of the machine on which the daemon runs."""
_KEYS: Final = {KEY.access_key: (KEY, ROLE), MACHINE.access_key: (MACHINE, ROLE)}


@dataclass
class Cloud:
    """All three of them, and the doorman of the cluster."""

    url: str
    server: str
    """Where the cluster is."""
    authority: str
    """PEM."""
    subject: str = ""
    """The ServiceAccount that each trusts; empty for any."""
    refusals: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """By the first part of the path: a status, and what is said with it."""
    silent: set[str] = field(default_factory=set)
    """By the first part of the path: what does not answer."""
    asked: list[str] = field(default_factory=list)
    """The first part of the path of each request."""
    shown: list[str] = field(default_factory=list)
    """Each token that the API server asked about."""
    audiences: list[list[str]] = field(default_factory=list)
    """Of the words that were taken."""
    strangers: set[str] = field(default_factory=set)
    """Providers whose tokens the cluster does not know."""
    kubeconfigs: list[bytes] | None = None
    """What Azure says instead of what is true."""
    lent: Credentials = KEY
    """What AWS lends to the role."""
    profile: Any = field(default_factory=dict)
    """Of Entra ID, in what Azure says about the cluster."""
    _granted: dict[str, str] = field(default_factory=dict)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _number: itertools.count[int] = field(default_factory=itertools.count)

    def close(self) -> None:
        """Let those go who wait for an answer."""
        self._over.set()

    def grant(self, who: str) -> str:
        """Hand out a token."""
        token = f"token-{next(self._number)}-of-{who}"
        self._granted[token] = who
        return token

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request of any cloud."""
        operation = request.path.split("/")[1]
        self.asked.append(operation)
        if operation in self.silent:
            await self._over.wait()
            return web.Response(status=503)
        if operation in self.refusals:
            status, said = self.refusals[operation]
            text = said if isinstance(said, str) else json.dumps(said)
            return web.Response(status=status, text=text)
        found: web.StreamResponse = await getattr(self, f"_{operation}")(request)
        return found

    # AWS ----------------------------------------------------------------------------------------

    async def _sts(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        self._check_word(form["WebIdentityToken"], "aws")
        assert form["Action"] == "AssumeRoleWithWebIdentity"
        assert form["RoleArn"] == ROLE
        return web.Response(
            text="<R><Credentials>"
            f"<AccessKeyId>{self.lent.access_key}</AccessKeyId>"
            f"<SecretAccessKey>{self.lent.secret_key}</SecretAccessKey>"
            f"<SessionToken>{self.lent.token or ''}</SessionToken>"
            "<Expiration>2036-01-02T01:00:00Z</Expiration></Credentials></R>"
        )

    async def _eks(self, request: web.Request) -> web.Response:
        if not _is_signed(request):
            said = {"message": "The security token included in the request is invalid."}
            return web.json_response(said, status=403)
        if request.path != "/eks/clusters/prod":
            name = request.path.rpartition("/")[2]
            said = {"message": f"No cluster found for name: {name}."}
            return web.json_response(said, status=404)
        data = base64.b64encode(self.authority.encode()).decode()
        cluster = {"endpoint": self.server, "certificateAuthority": {"data": data}}
        return web.json_response({"cluster": {"name": "prod", "status": "ACTIVE", **cluster}})

    # Azure --------------------------------------------------------------------------------------

    async def _entra(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        assert request.path == f"/entra/{TENANT}"
        assert form["client_id"] == APPLICATION
        self._check_word(form["client_assertion"], "azure")
        who = APPLICATION if form["scope"] == aks.SCOPE else "arm"
        return web.json_response({"access_token": self.grant(who), "expires_in": 3599})

    async def _metadata(self, request: web.Request) -> web.Response:
        """Tell the machine who it is, at Azure."""
        assert request.headers["Metadata"] == "true"
        is_arm = request.query["resource"] == "https://management.azure.com"
        token = self.grant("arm" if is_arm else APPLICATION)
        return web.json_response({"access_token": token, "expires_in": "3599"})

    async def _arm(self, request: web.Request) -> web.Response:
        if self._bearer(request) != "arm":
            return web.json_response({"error": {"message": "no such token"}}, status=401)
        assert request.query["api-version"]
        path = request.path.removeprefix("/arm")
        if request.method == "GET" and path == NAMES["azure"]:
            return web.json_response({"properties": {"aadProfile": self.profile}})
        if request.method == "POST" and path == f"{NAMES['azure']}/listClusterUserCredential":
            told = [self._kubeconfig()] if self.kubeconfigs is None else self.kubeconfigs
            values = [base64.b64encode(each).decode() for each in told]
            return web.json_response(
                {"kubeconfigs": [{"name": "clusterUser", "value": value} for value in values]}
            )
        said = {"code": "ResourceNotFound", "message": f"The Resource '{path}' was not found."}
        return web.json_response({"error": said}, status=404)

    def _kubeconfig(self) -> bytes:
        authority = base64.b64encode(self.authority.encode()).decode()
        cluster = {"server": self.server, "certificate-authority-data": authority}
        plugin = {"command": "kubelogin", "apiVersion": "client.authentication.k8s.io/v1beta1"}
        return json.dumps(
            {
                "current-context": "prod",
                "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "u"}}],
                "clusters": [{"name": "prod", "cluster": cluster}],
                "users": [{"name": "u", "user": {"exec": plugin}}],
            }
        ).encode()

    # Google -------------------------------------------------------------------------------------

    async def _google(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        self._check_word(form["subject_token"], "gcp")
        assert form["scope"] in {" ".join(gke.SCOPES), gke.SCOPES[0]}
        return web.json_response({"access_token": self.grant("pool")})

    async def _impersonation(self, request: web.Request) -> web.Response:
        assert self._bearer(request) == "pool"
        assert (await request.json())["scope"] in [list(gke.SCOPES), [gke.SCOPES[0]]]
        email = request.path.rpartition("/")[2]
        ends_at = "2036-01-02T01:00:00Z"
        return web.json_response({"accessToken": self.grant(email), "expireTime": ends_at})

    async def _computeMetadata(self, request: web.Request) -> web.Response:  # noqa: N802 - a path
        """Tell the machine who it is, at Google."""
        assert request.headers["Metadata-Flavor"] == "Google"
        assert request.query["scopes"] == ",".join(gke.SCOPES)
        return web.json_response({"access_token": self.grant(EMAIL), "expires_in": 3599})

    async def _gke(self, request: web.Request) -> web.Response:
        if self._bearer(request) != EMAIL:
            return web.json_response({"error": {"message": "who are you?"}}, status=401)
        name = request.path.removeprefix("/gke/")
        if name != NAMES["gcp"]:
            said = {"code": 404, "message": f"Not found: {name}.", "status": "NOT_FOUND"}
            return web.json_response({"error": said}, status=404)
        data = base64.b64encode(self.authority.encode()).decode()
        return web.json_response(
            {
                "endpoint": self.server.removeprefix("https://"),
                "masterAuth": {"clusterCaCertificate": data},
                "controlPlaneEndpointsConfig": {
                    "dnsEndpointConfig": {"endpoint": "gke-1.europe-west1.gke.goog"}
                },
            }
        )

    async def _v1(self, request: web.Request) -> web.Response:
        """Encrypt and decrypt, as the key service does: here backwards."""
        if self._bearer(request) != EMAIL:
            return web.json_response({"error": {"code": 403, "message": "who?"}}, status=403)
        body = await request.json()
        if request.path.endswith(":encrypt"):
            answer = {"name": request.path, "ciphertext": _backwards(body["plaintext"])}
            return web.json_response(answer)
        return web.json_response({"plaintext": _backwards(body["ciphertext"])})

    # The doorman --------------------------------------------------------------------------------

    async def _review(self, request: web.Request) -> web.Response:
        token = (await request.json())["spec"]["token"]
        self.shown.append(token)
        who = self._bearer_of(token)
        provider = next((each for each, user in USERS.items() if user == who), "")
        status: dict[str, Any] = {"authenticated": False}
        if provider and provider not in self.strangers:
            status = {"authenticated": True, "user": {"username": who, "groups": ["clouds"]}}
        return web.json_response(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
        )

    def _bearer_of(self, token: str) -> str | None:
        if not token.startswith("k8s-aws-v1."):
            return self._granted.get(token)
        url = question(token)
        return caller(url, "prod") if url.startswith(f"{self.url}/sts/?") else None

    # What they share ----------------------------------------------------------------------------

    async def _form(self, request: web.Request) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(await request.text()).items()}

    def _bearer(self, request: web.Request) -> str | None:
        return self._granted.get(request.headers["Authorization"].removeprefix("Bearer "))

    def _check_word(self, token: str, provider: str) -> None:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        self.audiences.append(claims["aud"])
        assert not self.subject or claims["sub"] == self.subject
        assert claims["aud"] == [AUDIENCES[provider]] or claims["aud"] == ["of-the-config-map"]


def _backwards(text: str) -> str:
    return base64.b64encode(base64.b64decode(text)[::-1]).decode()


def question(token: str) -> str:
    """Return the URL that a token for EKS is."""
    part = token.removeprefix("k8s-aws-v1.")
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()


def caller(url: str, cluster: str) -> str | None:
    """Return who signed the question who he is, for a cluster; None where nobody known did.

    What AWS's own authenticator looks at: the signature, its age, and what is asked.
    """
    query = dict(URL(url).query)
    given = query.pop("X-Amz-Signature")
    key, role = _KEYS[query["X-Amz-Credential"].partition("/")[0]]
    stamp = dt.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    assert int(query["X-Amz-Expires"]) <= 900
    assert abs(dt.datetime.now(dt.UTC) - stamp) < dt.timedelta(minutes=15)
    assert (query["Action"], query["Version"]) == ("GetCallerIdentity", "2011-06-15")
    assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert query.get("X-Amz-Security-Token") == key.token
    bare = url.partition("&X-Amz-Signature=")[0]
    request = AWSRequest("GET", bare, {"x-k8s-aws-id": cluster})
    request.context["timestamp"] = query["X-Amz-Date"]
    auth = SigV4QueryAuth(key, "sts", REGION)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return role if auth.signature(text, request) == given else None


def _is_signed(request: web.Request) -> bool:
    """Tell whether botocore puts the same signature under a request."""
    shown = request.headers["Authorization"]
    names = shown.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    key, _ = _KEYS[shown.partition("Credential=")[2].partition("/")[0]]
    if key.token != request.headers.get("x-amz-security-token"):
        return False
    headers = {name: request.headers[name] for name in names if name != "host"}
    repeated = AWSRequest(request.method, str(request.url), headers)
    repeated.context["timestamp"] = request.headers["x-amz-date"]
    auth = SigV4Auth(key, "eks", REGION)
    text = auth.string_to_sign(repeated, auth.canonical_request(repeated))
    return shown.endswith(f"Signature={auth.signature(text, repeated)}")


def doorman(port: int) -> str:
    """Return the kubeconfig by which an API server finds its doorman."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}/review"}}],
            "users": [{"name": "it", "user": {}}],
        }
    )


@asynccontextmanager
async def serving(
    server: str, authority: str, listener: socket.socket, patch: pytest.MonkeyPatch
) -> AsyncIterator[Cloud]:
    """Serve on a socket that listens, and have our code look there for the clouds.

    Args:
        server: where the cluster is.
        authority: its certificate authority, PEM.
        listener: is left open.
        patch: puts the addresses of the clouds in place.
    """
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    cloud = Cloud(url, server, authority)
    patch.setattr(roles, "ENDPOINT", f"{url}/sts/")
    patch.setattr(eks, "ENDPOINT", f"{url}/eks/")
    patch.setattr(devops, "ENDPOINT", f"{url}/entra/{{tenant}}")
    patch.setattr(aks, "ENDPOINT", f"{url}/arm")
    patch.setattr(clouds, "GOOGLE_ENDPOINT", f"{url}/google")
    patch.setattr(clouds, "IMPERSONATION_ENDPOINT", f"{url}/impersonation/{{email}}")
    patch.setattr(gke, "ENDPOINT", f"{url}/gke/")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", cloud.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener.dup()).start()
    try:
        yield cloud
    finally:
        cloud.close()
        await runner.cleanup()
