"""Logins that clouds lend for their registries: ECR of AWS, ACR of Azure, Google's two.

Each takes what the cloud gave for a cluster's word about a ServiceAccount, keys or an access token,
and makes of it what the registry takes. Nothing is sent to a host that is not the cloud's own.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from yarl import URL

from sources import web
from sources.auth import oauth
from sources.auth.errors import CredentialsError
from sources.auth.keep import Lasting
from sources.bucket import sigv4
from sources.oci.keychain import Login

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.clock import Clock
    from sources.bucket.sigv4 import Keys
    from sources.web import Web

AWS: Final = "aws"
AZURE: Final = "azure"
GCP: Final = "gcp"
PROVIDERS: Final = (AWS, AZURE, GCP)

PUBLIC_ECR: Final = "public.ecr.aws"
ACR_SCOPE: Final = "https://containerregistry.azure.net/.default"
"""What Azure's registries are called in Entra ID."""
GCP_PROVIDER: Final = "gcp.auth.fluxcd.io/workload-identity-provider"
GCP_ACCOUNT: Final = "iam.gke.io/gcp-service-account"
"""The ServiceAccount's annotations that name who to be at Google."""

ECR_ENDPOINT: Final = "https://api.ecr.{region}.{domain}/"
PUBLIC_ECR_ENDPOINT: Final = "https://api.ecr-public.{region}.{domain}/"
ACR_ENDPOINT: Final = "https://{host}/oauth2/exchange"
GOOGLE_ENDPOINT: Final = "https://sts.googleapis.com/v1/token"
IMPERSONATION_ENDPOINT: Final = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateAccessToken"

_LASTS: Final = dt.timedelta(minutes=50)
"""For what is lent for an hour or more and does not say."""
_ACR_USER: Final = "00000000-0000-0000-0000-000000000000"
_ECR: Final = re.compile(r"\d+\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)")
_ACR: Final = re.compile(r"[a-z0-9][a-z0-9-]*(?:\.[a-z0-9-]+)*\.azurecr\.io")
_GAR: Final = re.compile(r"(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev")
_POOL: Final = re.compile(
    r"(?:(?:https:)?//iam\.googleapis\.com/)?"
    r"(projects/\d{1,30}/locations/global/workloadIdentityPools/[^/\s]{1,100}/providers/[^/\s]{1,100})"
)
_EMAIL: Final = re.compile(r"[a-z0-9-]{1,100}@[a-z0-9.-]{1,100}\.gserviceaccount\.com")
GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

Lent: TypeAlias = Lasting[Login]
"""A login, and when it ends."""


def ecr_place(host: str) -> tuple[str, str]:
    """Return region and domain of a registry of AWS.

    Raises:
        CredentialsError: it is none.
    """
    if host == PUBLIC_ECR:
        return "us-east-1", "amazonaws.com"
    found = _ECR.fullmatch(host)
    if found is None:
        raise CredentialsError(
            f"invalid AWS registry: '{host}' is neither {PUBLIC_ECR} nor such as "
            "<account>.dkr.ecr.<region>.amazonaws.com"
        )
    return found[1], found[2]


def check_acr(host: str) -> None:
    """Look whether a host is a registry of Azure.

    Raises:
        CredentialsError: it is none of the public cloud.
    """
    if not _ACR.fullmatch(host):
        raise CredentialsError(f"invalid Azure registry: '{host}' is not such as <name>.azurecr.io")


def check_gar(host: str) -> None:
    """Look whether a host is a registry of Google.

    Raises:
        CredentialsError: it is none.
    """
    if not _GAR.fullmatch(host):
        raise CredentialsError(
            f"invalid GCP registry: '{host}' is neither such as <region>-docker.pkg.dev nor gcr.io"
        )


def pool(annotation: str) -> str:
    """Return the audience of a workload identity provider.

    Raises:
        CredentialsError: the annotation names none.
    """
    found = _POOL.fullmatch(annotation)
    if found is None:
        raise CredentialsError(
            f"invalid {GCP_PROVIDER} annotation: '{annotation}' is not such as projects/<number>/"
            "locations/global/workloadIdentityPools/<pool>/providers/<provider>"
        )
    return f"//iam.googleapis.com/{found[1]}"


def check_account(email: str) -> str:
    """Return the annotation about a service account of Google, which may be absent.

    Raises:
        CredentialsError: it names none.
    """
    if email and not _EMAIL.fullmatch(email):
        raise CredentialsError(
            f"invalid {GCP_ACCOUNT} annotation: '{email}' is no service account of Google"
        )
    return email


class _Authorization(msgspec.Struct, rename="camel"):
    authorization_token: str
    expires_at: float = 0.0


class _Private(msgspec.Struct, rename="camel"):
    authorization_data: tuple[_Authorization, ...]


class _Public(msgspec.Struct, rename="camel"):
    authorization_data: _Authorization


class _Refresh(msgspec.Struct):
    refresh_token: str


class _Impersonation(msgspec.Struct, rename="camel"):
    access_token: str
    expire_time: dt.datetime


async def ecr(client: Web, host: str, keys: Keys, clock: Clock) -> Lent:
    """Return a login to a registry of AWS.

    Args:
        client: how to reach AWS.
        host: the registry's.
        keys: of a role that may read it.
        clock: stamps the signature.

    Raises:
        CredentialsError: AWS refuses, cannot be reached, or answers something else.
    """
    region, domain = ecr_place(host)
    is_public = host == PUBLIC_ECR
    endpoint = PUBLIC_ECR_ENDPOINT if is_public else ECR_ENDPOINT
    service = "SpencerFrontendService" if is_public else "AmazonEC2ContainerRegistry_V20150921"
    url, body = URL(endpoint.format(region=region, domain=domain)), b"{}"
    headers = {
        "Host": sigv4.host(url),
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"{service}.GetAuthorizationToken",
    }
    scope = sigv4.Scope(region, "ecr-public" if is_public else "ecr")
    signed = sigv4.sign("POST", "/", headers, keys, scope, clock.now(), body)
    answer = await _asked(client, url, body, signed, "AWS does not lend a login to its registry")
    try:
        if is_public:
            found = msgspec.json.decode(answer, type=_Public).authorization_data
        else:
            found = msgspec.json.decode(answer, type=_Private).authorization_data[0]
        user, _, password = base64.b64decode(found.authorization_token).decode().partition(":")
        ends_at = dt.datetime.fromtimestamp(found.expires_at, dt.UTC)
    except (msgspec.MsgspecError, binascii.Error, LookupError, ValueError) as err:
        raise CredentialsError("AWS answers without a login to its registry") from err
    return Lasting(Login(user, password), ends_at)


async def acr(client: Web, host: str, token: str, clock: Clock) -> Lent:
    """Return a login to a registry of Azure, for a token of the scope `ACR_SCOPE`.

    Raises:
        CredentialsError: the registry refuses, cannot be reached, or answers something else.
    """
    check_acr(host)
    form = {"grant_type": "access_token", "service": host, "access_token": token}
    url = URL(ACR_ENDPOINT.format(host=host))
    answer = await _asked(client, url, form, None, f"{host} does not take the token of Entra ID")
    try:
        refresh = msgspec.json.decode(answer, type=_Refresh).refresh_token
    except msgspec.MsgspecError as err:
        raise CredentialsError(f"{host} answers without a token") from err
    return Lasting(Login(_ACR_USER, refresh), clock.now() + _LASTS)


def gar(access: Lasting[str]) -> Lent:
    """Return the login to Google's registries that an access token is."""
    return Lasting(Login("oauth2accesstoken", access.value), access.ends_at)


async def google(
    client: Web,
    audience: str,
    email: str,
    token: str,
    clock: Clock,
    scopes: Sequence[str] = (GOOGLE_SCOPE,),
) -> Lasting[str]:
    """Return an access token of Google's.

    Args:
        client: how to reach Google.
        audience: see `pool`.
        email: of the service account to act as; empty for what the pool itself grants.
        token: of a ServiceAccount, for that audience.
        clock: tells until when it is used.
        scopes: what it is for.

    Raises:
        CredentialsError: Google refuses, cannot be reached, or answers something else.
    """
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": audience,
        "scope": " ".join(scopes),
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    access, ends_at = await oauth.token(client, GOOGLE_ENDPOINT, form), clock.now() + _LASTS
    if email:
        body = msgspec.json.encode({"scope": list(scopes)})
        headers = {"Authorization": f"Bearer {access}", "Content-Type": "application/json"}
        url = URL(IMPERSONATION_ENDPOINT.format(email=email))
        answer = await _asked(client, url, body, headers, f"Google does not lend what {email} may")
        try:
            found = msgspec.json.decode(answer, type=_Impersonation)
        except msgspec.MsgspecError as err:
            raise CredentialsError("Google answers without a token") from err
        access, ends_at = found.access_token, found.expire_time
    return Lasting(access, ends_at)


async def _asked(
    client: Web,
    url: URL,
    body: dict[str, str] | bytes,
    headers: dict[str, str] | None,
    failing: str,
) -> bytes:
    try:
        return await client.post(url, body, headers)
    except web.WebError as err:
        raise CredentialsError(f"{failing}: {err}") from err
