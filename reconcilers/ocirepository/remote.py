"""From an OCIRepository's spec, and the Secrets it names, to what `sources.oci` needs to know."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from api import durations
from kube import errors
from kube.objects import GVK, Resource
from reconcilers import ambient
from reconcilers.ocirepository import cloud
from reconcilers.source import secrets
from runtime.errors import TerminalError, TransientError
from sources.auth import tls
from sources.auth.errors import AUTHENTICATION_FAILED, CredentialsError
from sources.oci import client, clouds, keychain, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.oci import OCIRepository
    from reconcilers.context import ClusterContext
    from sources.auth.proxy import Proxy
    from sources.auth.tls import Trust
    from sources.oci.keychain import Keychain
    from sources.oci.names import Name

URL_INVALID: Final = "URLInvalid"
DEFAULT_TIMEOUT_S: Final = 60.0

_ACCOUNTS: Final = Resource(GVK("", "v1", "ServiceAccount"), "serviceaccounts", is_namespaced=True)


async def repository(context: ClusterContext, obj: OCIRepository) -> client.Repository:
    """Return the repository that an object names, with its login, its trust and its proxy.

    Raises:
        TransientError: a Secret or the ServiceAccount is missing or cannot be used.
        TerminalError: the URL names no repository.
    """
    name = _name(obj)
    keys = await _keychain(context, obj)
    through = await _proxy(context, obj)
    trust = await _trust(context, obj)
    login = keys.login(name)
    provider, account = obj.spec.provider, obj.spec.service_account_name
    if provider in clouds.PROVIDERS and not keys.entries:
        with failing(f"failed to get credential from {provider}"):
            if account:
                login = await cloud.login(context, obj, name.host, through)
            elif obj.spec.secret_ref is None:
                ambient.check(trust, insecure=obj.spec.insecure)
                login = await cloud.ambient_login(context, provider, name.host, through)
    return client.Repository(
        name,
        login,
        trust,
        through,
        insecure=obj.spec.insecure,
        timeout_s=durations.parse_or(obj.spec.timeout, DEFAULT_TIMEOUT_S),
    )


@contextmanager
def failing(text: str) -> Iterator[None]:
    """Say what was tried when credentials turn out to be unusable.

    Raises:
        TransientError: reason ``AuthenticationFailed``; someone may mend it at any time.
    """
    try:
        yield
    except CredentialsError as err:
        raise TransientError(AUTHENTICATION_FAILED, f"{text}: {err}") from err
    except TransientError as err:
        raise TransientError(AUTHENTICATION_FAILED, f"{text}: {err.message}") from err


def unusable(obj: OCIRepository, error: CredentialsError) -> TransientError:
    """Return the leaf for certificates that cannot be used."""
    return TransientError(AUTHENTICATION_FAILED, f"{_transport(obj)}: {error}")


def _transport(obj: OCIRepository) -> str:
    return f"failed to generate transport for '{obj.spec.url}'"


def _name(obj: OCIRepository) -> Name:
    try:
        return names.parse(obj.spec.url)
    except names.InvalidNameError as err:
        text = f"URL validation failed for '{obj.spec.url}': {err}"
        raise TerminalError(URL_INVALID, text) from err


async def _keychain(context: ClusterContext, obj: OCIRepository) -> Keychain:
    """Return the logins of the Secret, then those of the ServiceAccount."""
    found: list[Keychain] = []
    namespace = obj.metadata.namespace
    with failing("failed to get credential"):
        if obj.spec.secret_ref is not None:
            name, data = await secrets.read(context, namespace, obj.spec.secret_ref.name)
            found.append(keychain.from_secret(data, name))
        for each in await _pull_secrets(context, obj):
            name, data = await secrets.read(context, namespace, each)
            found.append(keychain.from_secret(data, name))
    return keychain.combine(found)


async def _pull_secrets(context: ClusterContext, obj: OCIRepository) -> list[str]:
    account = obj.spec.service_account_name
    if not account:
        return []
    namespace = obj.metadata.namespace
    try:
        found = await context.client.get(_ACCOUNTS, namespace, account)
    except errors.ApiError as err:
        text = f"failed to get service account '{namespace}/{account}': {err.message}"
        raise TransientError(AUTHENTICATION_FAILED, text) from err
    return [each["name"] for each in found.get("imagePullSecrets") or () if each.get("name")]


async def _proxy(context: ClusterContext, obj: OCIRepository) -> Proxy | None:
    if obj.spec.proxy_secret_ref is None:
        return None
    with failing("failed to get proxy address"):
        return await secrets.read_proxy(
            context, obj.metadata.namespace, obj.spec.proxy_secret_ref.name
        )


async def _trust(context: ClusterContext, obj: OCIRepository) -> Trust:
    if obj.spec.cert_secret_ref is None:
        return replace(tls.SYSTEM, accepts_any=obj.spec.insecure)
    with failing(_transport(obj)):
        namespace = obj.metadata.namespace
        name, data = await secrets.read(context, namespace, obj.spec.cert_secret_ref.name)
        return tls.from_cert_secret(data, name)
