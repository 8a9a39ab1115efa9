"""This machine's keys in AWS, looked for in the order of AWS's own libraries.

Environment, web identity, profile, container, instance (IMDSv2). A profile holds keys; those that
run a program, sign in at a browser or take another role are told apart by name, and not followed.
"""

from __future__ import annotations

import datetime as dt
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from yarl import URL

from sources.auth import roles
from sources.auth.ambient.surroundings import NoIdentityError
from sources.auth.errors import CredentialsError
from sources.auth.keep import Lasting
from sources.bucket.sigv4 import Keys

if TYPE_CHECKING:
    from sources.auth.ambient.surroundings import Surroundings

LOOKED_AT: Final = dt.timedelta(minutes=15)
"""For how long keys without an end are taken for true."""
CONTAINER: Final = "http://169.254.170.2"
INSTANCE: Final = "http://169.254.169.254"
_CONTAINER_HOSTS: Final = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
_ROLES: Final = "/latest/meta-data/iam/security-credentials/"
_TOKEN_TTL: Final = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
_NOT_FOLLOWED: Final = ("credential_process", "sso_session", "sso_start_url", "role_arn")
_NOBODY: Final = (
    "this machine has no identity in AWS: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, or a profile with keys in ~/.aws/credentials"
)


class _Told(msgspec.Struct, frozen=True, rename="pascal"):
    """Keys as a container's or an instance's address tells them."""

    access_key_id: str
    secret_access_key: str
    token: str = ""
    expiration: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None


async def keys(here: Surroundings, place: tuple[str, str], endpoint: str = "") -> Lasting[Keys]:
    """Return this machine's keys.

    Args:
        here: where to look.
        place: region and domain of what they are for; a web identity is exchanged there.
        endpoint: of the token service; empty for what the environment says, else the region's.

    Raises:
        NoIdentityError: there are none.
        CredentialsError: there are some, and they cannot be used.
    """
    if found := _environment(here):
        return found
    if token_file := here.named("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return await _web_identity(here, place, token_file, endpoint)
    if found := await _profile(here):
        return found
    if url := _container_url(here):
        return _told(here, await here.ask(url, await _container_headers(here)))
    return await _instance(here)


def _environment(here: Surroundings) -> Lasting[Keys] | None:
    access, secret = here.named("AWS_ACCESS_KEY_ID"), here.named("AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        return None
    return _static(here, Keys(access, secret, here.named("AWS_SESSION_TOKEN")))


async def _web_identity(
    here: Surroundings, place: tuple[str, str], token_file: str, endpoint: str
) -> Lasting[Keys]:
    role = here.named("AWS_ROLE_ARN")
    if not role:
        raise CredentialsError("AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not")
    token, session = await here.text(token_file), here.named("AWS_ROLE_SESSION_NAME") or "gitopsd"
    endpoint = endpoint or here.named("AWS_ENDPOINT_URL_STS")
    return Lasting(*await roles.assume(here.web, place, role, token, session, endpoint))


async def _profile(here: Surroundings) -> Lasting[Keys] | None:
    """Return the keys of the profile that is chosen, which then has to be there, or of the default.

    Raises:
        CredentialsError: it holds none.
    """
    name = here.named("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    credentials = here.named("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    config = here.named("AWS_CONFIG_FILE") or "~/.aws/config"
    section = f"profile {name}" if name and name != "default" else "default"
    found = await _section(here, config, section)
    found |= await _section(here, credentials, name or "default")
    if found.get("aws_access_key_id") and found.get("aws_secret_access_key"):
        parts = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        return _static(here, Keys(*(found.get(part, "") for part in parts)))
    if way := next((each for each in _NOT_FOLLOWED if found.get(each)), ""):
        raise CredentialsError(
            f"profile '{name or 'default'}' of AWS holds no keys but '{way}', which is not "
            "followed: put keys into it, or into the environment of the daemon"
        )
    if name:
        raise CredentialsError(f"profile '{name}' of AWS holds no keys in {credentials}")
    return None


async def _section(here: Surroundings, path: str, section: str) -> dict[str, str]:
    if not await here.exists(path):
        return {}
    import configparser

    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(await here.text(path))
    except configparser.Error as err:
        raise CredentialsError(f"{path} is no file of AWS's profiles") from err
    return dict(parser[section]) if parser.has_section(section) else {}


def _container_url(here: Surroundings) -> str:
    """Return the address of a container's keys.

    Raises:
        CredentialsError: it is one to which AWS's libraries would send nothing in clear either.
    """
    if relative := here.named("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        return f"{CONTAINER}{relative}"
    full = here.named("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    url = URL(full)
    if full and url.scheme != "https" and not _is_near(url.host or ""):
        raise CredentialsError("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor loopback")
    return full


def _is_near(host: str) -> bool:
    try:
        return host in _CONTAINER_HOSTS or ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _container_headers(here: Surroundings) -> dict[str, str]:
    if path := here.named("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        return {"Authorization": await here.text(path)}
    token = here.named("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    return {"Authorization": token} if token else {}


async def _instance(here: Surroundings) -> Lasting[Keys]:
    if here.named("AWS_EC2_METADATA_DISABLED").lower() == "true":
        raise NoIdentityError(_NOBODY)
    base = (here.named("AWS_EC2_METADATA_SERVICE_ENDPOINT") or INSTANCE).rstrip("/")
    try:
        token = await here.ask(f"{base}/latest/api/token", _TOKEN_TTL, "PUT")
    except NoIdentityError as err:
        raise NoIdentityError(_NOBODY) from err
    headers = {"X-aws-ec2-metadata-token": token.decode("ascii", "replace").strip()}
    role = (await here.ask(f"{base}{_ROLES}", headers)).decode("ascii", "replace").split()
    if not role:
        raise NoIdentityError(_NOBODY)
    return _told(here, await here.ask(f"{base}{_ROLES}{role[0]}", headers))


def _told(here: Surroundings, answer: bytes) -> Lasting[Keys]:
    try:
        told = msgspec.json.decode(answer, type=_Told)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise CredentialsError("the identity of this machine in AWS is told without keys") from err
    found = Keys(told.access_key_id, told.secret_access_key, told.token)
    return Lasting(found, told.expiration) if told.expiration else _static(here, found)


def _static(here: Surroundings, found: Keys) -> Lasting[Keys]:
    return Lasting(found, here.clock.now() + LOOKED_AT)
