"""From a HelmRepository's spec, and the Secrets it names, to what asks its server.

Secrets have Flux's layout: ``secretRef`` holds a login, ``certSecretRef`` certificates, which go
before those that a ``secretRef`` may still hold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from api import durations, meta
from api.charts import DEFAULT, OCI, HelmRepository, HelmRepositorySpec
from api.meta import ObjectMeta
from reconcilers import ambient
from reconcilers.ocirepository import cloud
from reconcilers.source import secrets
from runtime.errors import TerminalError
from sources.auth import basic, tls
from sources.auth.errors import CredentialsError
from sources.helm import urls
from sources.helm.server import Repository
from sources.oci import client, clouds, keychain, names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconcilers.context import ClusterContext
    from sources.auth.basic import Credentials
    from sources.auth.tls import Trust
    from sources.oci.keychain import Login
    from sources.oci.names import Name

URL_INVALID: Final = "URLInvalid"
GENERIC: Final = "generic"
DEFAULT_TIMEOUT_S: Final = 60.0
_OLDER: Final = {"caFile": "ca.crt", "certFile": "tls.crt", "keyFile": "tls.key"}


async def repository(context: ClusterContext, obj: HelmRepository) -> Repository:
    """Return the repository of an object of type ``default``.

    Raises:
        TransientError: a Secret is missing or cannot be used.
        TerminalError: the URL is none of a repository.
    """
    if urls.scheme(obj.spec.url) == urls.OCI:
        raise invalid("'oci' URL scheme cannot be used with 'default' HelmRepository type")
    credentials = await _credentials(context, obj)
    try:
        url, credentials = basic.split_url(urls.normalise(obj.spec.url), credentials)
    except CredentialsError as err:
        raise secrets.unusable(err) from err
    except ValueError as err:
        raise invalid(str(err)) from err
    return Repository(
        url,
        credentials,
        passes_credentials=obj.spec.pass_credentials,
        timeout_s=_timeout_s(obj),
    )


async def registry(context: ClusterContext, obj: HelmRepository, chart: str) -> client.Repository:
    """Return the repository of a chart in the registry that an object of type ``oci`` names.

    Raises:
        TransientError: a Secret is missing or cannot be used, or the provider lends no login.
        TerminalError: the URL is none of a registry.
    """
    if urls.scheme(obj.spec.url) != urls.OCI:
        text = (
            f"failed to construct Helm client: invalid OCI registry URL: {urls.shown(obj.spec.url)}"
        )
        raise TerminalError(meta.FAILED, text)
    try:
        name = names.parse(f"{urls.normalise(obj.spec.url)}/{chart}")
    except ValueError as err:
        raise invalid(str(err)) from err
    login, trust = await _login(context, obj, name)
    if obj.spec.provider in clouds.PROVIDERS and obj.spec.secret_ref is None:
        try:
            ambient.check(trust, insecure=obj.spec.insecure)
            login = await cloud.ambient_login(context, obj.spec.provider, name.host, None)
        except CredentialsError as err:
            raise secrets.unusable(err) from err
    if obj.spec.insecure and trust == tls.SYSTEM:
        trust = replace(trust, accepts_any=True)
    return client.Repository(
        name, login, trust, insecure=obj.spec.insecure, timeout_s=_timeout_s(obj)
    )


def anonymous(url: str, namespace: str) -> HelmRepository:
    """Return the object that a repository would have that needs no credentials.

    Args:
        url: the repository's, normalised.
        namespace: where it is looked for.
    """
    kind = OCI if urls.scheme(url) == urls.OCI else DEFAULT
    return HelmRepository(
        metadata=ObjectMeta(namespace=namespace), spec=HelmRepositorySpec(url=url, type=kind)
    )


def invalid(text: str) -> TerminalError:
    """Return the leaf for a URL that is none of a repository."""
    return TerminalError(URL_INVALID, f"invalid Helm repository URL: {text}")


async def _login(context: ClusterContext, obj: HelmRepository, name: Name) -> tuple[Login, Trust]:
    full_name, data = await _secret(context, obj)
    try:
        trust = await _trust(context, obj, tls.trust(data, full_name))
        if keychain.CONFIG_KEY in data:
            return keychain.from_secret(data, full_name).login(name), trust
        found = basic.from_secret(data, full_name)
    except CredentialsError as err:
        raise secrets.unusable(err) from err
    return keychain.Login(found.username, found.password), trust


async def _credentials(context: ClusterContext, obj: HelmRepository) -> Credentials:
    name, data = await _secret(context, obj)
    try:
        found = basic.from_secret(data, name)
        return replace(found, trust=await _trust(context, obj, found.trust))
    except CredentialsError as err:
        raise secrets.unusable(err) from err


async def _secret(context: ClusterContext, obj: HelmRepository) -> tuple[str, Mapping[str, bytes]]:
    """Return name and content of the ``secretRef``, with the keys of today."""
    if obj.spec.secret_ref is None:
        return "", {}
    name, data = await secrets.read(context, obj.metadata.namespace, obj.spec.secret_ref.name)
    older = {_OLDER[key]: value for key, value in data.items() if key in _OLDER}
    return name, {**older, **data}


async def _trust(context: ClusterContext, obj: HelmRepository, other: Trust) -> Trust:
    """Return what the ``certSecretRef`` says, or ``other`` where there is none."""
    if obj.spec.cert_secret_ref is None:
        return other
    name, data = await secrets.read(context, obj.metadata.namespace, obj.spec.cert_secret_ref.name)
    return tls.from_cert_secret(data, name)


def _timeout_s(obj: HelmRepository) -> float:
    return durations.parse_or(obj.spec.timeout, DEFAULT_TIMEOUT_S)
