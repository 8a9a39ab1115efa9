"""From a GitRepository's spec, and the Secrets it names, to what `sources.git` needs to know."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from api import durations
from api.source import GitRepositorySpec
from reconcilers.gitrepository import cloud
from reconcilers.source import secrets
from runtime.errors import TerminalError, TransientError
from sources import git
from sources.auth import basic, github_app, ssh
from sources.auth.errors import AUTHENTICATION_FAILED, CredentialsError

if TYPE_CHECKING:
    from api.source import GitRepository
    from reconcilers.context import ClusterContext
    from sources.auth.basic import Credentials
    from sources.auth.github_app import App
    from sources.auth.proxy import Proxy

URL_INVALID: Final = "URLInvalid"
PROVIDER_INVALID: Final = "InvalidProviderConfiguration"
GITHUB: Final = "github"
PROVIDERS: Final = ("generic", cloud.AWS, cloud.AZURE, GITHUB)
SSH: Final = "ssh://"
DEFAULT_TIMEOUT_S: Final = 60.0

_NO_APP: Final = "secretRef with github app data must be specified when provider is set to github"


async def repository(context: ClusterContext, obj: GitRepository) -> git.Repository:
    """Return the remote that an object names, with its credentials and its proxy.

    Raises:
        TransientError: a Secret is missing or cannot be used.
        TerminalError: the URL does not parse, the provider is none, or there is no App for
            provider ``github``.
    """
    check_provider(obj.spec)
    timeout_s = durations.parse_or(obj.spec.timeout, DEFAULT_TIMEOUT_S)
    if obj.spec.url.lower().startswith(SSH) and obj.spec.provider != cloud.AWS:
        return git.Repository(_ssh_url(obj), await _identity(context, obj), timeout_s=timeout_s)
    through = await _proxy(context, obj)
    credentials = await _credentials(context, obj, through)
    try:
        url, credentials = basic.split_url(obj.spec.url, credentials)
    except CredentialsError as err:
        raise secrets.unusable(err) from err
    except ValueError as err:
        raise TerminalError(URL_INVALID, f"failed to parse url: {err}") from err
    return git.Repository(url, credentials, through, timeout_s)


def check_provider(spec: GitRepositorySpec) -> None:
    """Refuse what the CRD refuses too, for objects from before it did.

    Raises:
        TerminalError: there is no such provider, or it has no use for a ServiceAccount.
    """
    if spec.provider not in {"", *PROVIDERS}:
        supported = ", ".join(PROVIDERS)
        text = f"unsupported provider '{spec.provider}': supported values: {supported}"
        raise TerminalError(PROVIDER_INVALID, text)
    if spec.service_account_name and spec.provider not in cloud.PROVIDERS:
        raise TerminalError(PROVIDER_INVALID, GitRepositorySpec.RULES[0].message)


def _ssh_url(obj: GitRepository) -> str:
    """Return the URL without a password, which SSH has no use for.

    Raises:
        TerminalError: it does not parse, or names no host or repository.
    """
    try:
        parts = urlsplit(obj.spec.url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as err:
        raise TerminalError(URL_INVALID, f"failed to parse url: {err}") from err
    if not parts.hostname or not parts.path.strip("/"):
        raise TerminalError(URL_INVALID, "failed to parse url: an ssh URL is ssh://user@host/path")
    user = f"{parts.username}@" if parts.username else ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"ssh://{user}{host}{port}{parts.path}"


async def _identity(context: ClusterContext, obj: GitRepository) -> Credentials:
    if obj.spec.secret_ref is None:
        text = "an ssh URL needs a secretRef with 'identity' and 'known_hosts'"
        raise secrets.unusable(CredentialsError(text))
    if obj.spec.proxy_secret_ref is not None:
        text = "failed to configure proxy options: proxies are for http and https, not for ssh"
        raise TransientError(AUTHENTICATION_FAILED, text)
    name, data = await secrets.read(context, obj.metadata.namespace, obj.spec.secret_ref.name)
    try:
        return basic.Credentials(ssh=ssh.from_secret(data, name))
    except CredentialsError as err:
        raise secrets.unusable(err) from err


async def _proxy(context: ClusterContext, obj: GitRepository) -> Proxy | None:
    if obj.spec.proxy_secret_ref is None:
        return None
    name = obj.spec.proxy_secret_ref.name
    return await secrets.read_proxy(context, obj.metadata.namespace, name)


async def _credentials(
    context: ClusterContext, obj: GitRepository, through: Proxy | None
) -> Credentials:
    if obj.spec.provider in cloud.PROVIDERS:
        return await cloud.credentials(context, obj, through)
    if obj.spec.provider == GITHUB:
        app = replace(await _app(context, obj), proxy=through)
        return basic.Credentials(trust=app.trust, app=app)
    if obj.spec.secret_ref is None:
        return basic.ANONYMOUS
    name, data = await secrets.read(context, obj.metadata.namespace, obj.spec.secret_ref.name)
    if github_app.ID_KEY in data:
        raise TransientError(
            PROVIDER_INVALID,
            f"secretRef '{name}' has github app data but provider is not set to github",
        )
    try:
        return basic.from_secret(data, name)
    except CredentialsError as err:
        raise secrets.unusable(err) from err


async def _app(context: ClusterContext, obj: GitRepository) -> App:
    """Return the App of the object's Secret, or this machine's where it names none."""
    if obj.spec.secret_ref is None:
        return await _machine_app(context, obj)
    name, data = await secrets.read(context, obj.metadata.namespace, obj.spec.secret_ref.name)
    if github_app.ID_KEY not in data:
        raise TransientError(PROVIDER_INVALID, _NO_APP)
    try:
        return github_app.from_secret(data, name)
    except CredentialsError as err:
        raise secrets.unusable(err) from err


async def _machine_app(context: ClusterContext, obj: GitRepository) -> App:
    try:
        found = await context.threads.run(context.github_app)
        if found is None:
            raise TerminalError(PROVIDER_INVALID, f"{_NO_APP} (config.toml has no [github] app_id)")
        found.check(obj.metadata.namespace, obj.spec.url)
    except CredentialsError as err:
        raise TransientError(PROVIDER_INVALID, str(err)) from err
    except ValueError as err:
        raise TerminalError(URL_INVALID, f"failed to parse url: {err}") from err
    return found.app
