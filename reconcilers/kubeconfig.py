"""``spec.kubeConfig``: from a Secret or a ConfigMap to credentials for another cluster.

Both are read with the daemon's own identity from the object's namespace. A kubeconfig comes from a
tenant: it may neither run a program here, nor read a file, nor do without a certificate, unless the
settings of the machine allow it.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from yarl import URL

from kube import auth, errors, manifests, references
from kube.connection import AuthError, Material, open_connection
from kube.objects import ObjectId
from kube.remotes import Credentials
from reconcilers import accounts, cloudclusters, referenced
from reconcilers.cloudclusters import Wanted, Way
from reconcilers.workload import Identity

if TYPE_CHECKING:
    from api import meta
    from api.kustomize import KubeConfig
    from kube.connection import Connection
    from reconcilers.context import ClusterContext

GENERIC: Final = "generic"
"""The provider of a ConfigMap for clusters of no cloud: a ServiceAccount's token opens them."""
_KEYS: Final = ("value", "value.yaml")


async def credentials(
    context: ClusterContext, owner: meta.ObjectRef, where: KubeConfig
) -> Credentials:
    """Return the way to the cluster that an object names.

    Args:
        context: the object's own cluster.
        owner: the object, which is woken when what it names changes.
        where: ``spec.kubeConfig``.

    Raises:
        AuthError: what it names does not say the way.
        ApiError: what it names cannot be read.
    """
    if where.secret_ref is not None:
        name = where.secret_ref.name
        data = await _read(context, owner, references.SECRET, name)
        return _of_secret(context, owner.namespace, name, where.secret_ref.key, data)
    name = where.config_map_ref.name if where.config_map_ref else ""
    data = await _read(context, owner, references.CONFIG_MAP, name)
    return _of_config_map(context, owner.namespace, name, data)


async def _read(
    context: ClusterContext, owner: meta.ObjectRef, kind: str, name: str
) -> dict[str, bytes]:
    target = ObjectId(owner.namespace, name, "", kind)
    try:
        return referenced.data_of(await referenced.read(context, target, owner))
    except errors.NotFound as err:
        where = f"{kind.lower()} '{owner.namespace}/{name}'"
        raise AuthError(f"unable to read KubeConfig {where}: {err.message}") from err


# A kubeconfig -----------------------------------------------------------------------------------


def _of_secret(
    context: ClusterContext, namespace: str, name: str, key: str, data: dict[str, bytes]
) -> Credentials:
    keys = (key,) if key else _KEYS
    content = next((data[each] for each in keys if each in data), None)
    if content is None:
        wanted = " nor ".join(repr(each) for each in keys)
        text = f"KubeConfig secret '{name}' does not contain a {wanted} key with a kubeconfig"
        raise AuthError(text)
    settings = context.settings
    allowed = (settings.allow_kubeconfig_exec, settings.allow_kubeconfig_insecure_tls)
    connect = functools.partial(_connect, context, content)
    called = f"{context.name}/{namespace}/{name}"
    return Credentials(called, _digest("kubeconfig", content, *allowed), connect)


async def _connect(context: ClusterContext, content: bytes) -> Connection:
    settings = context.settings
    try:
        config = await context.threads.run(manifests.load, content)
    except manifests.ManifestError:
        raise AuthError("what the Secret holds is not YAML") from None  # quotes none of it
    return await auth.from_dict(
        config,
        clock=context.clock,
        may_run=settings.allow_kubeconfig_exec,
        may_be_insecure=settings.allow_kubeconfig_insecure_tls,
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


# A token of a ServiceAccount --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Asks the object's own cluster for tokens that another one trusts."""

    context: ClusterContext
    namespace: str
    account: str
    address: str
    authority: bytes | None
    audiences: tuple[str, ...]

    async def material(self) -> Material:
        """Return fresh material.

        Raises:
            AuthError: there is no such ServiceAccount, or no token for it.
        """
        try:
            given = await accounts.token(self.context, self.namespace, self.account, self.audiences)
        except errors.ApiError as err:
            who = f"{self.namespace}/{self.account}"
            raise AuthError(f"no token for the ServiceAccount {who}: {err.message}") from err
        return Material(
            server=self.address,
            authorization=f"Bearer {given.token}",
            authority=self.authority,
            expires_at=given.expiration_timestamp,
        )


def _of_config_map(
    context: ClusterContext, namespace: str, name: str, data: dict[str, bytes]
) -> Credentials:
    text = {key: value.decode(errors="replace").strip() for key, value in data.items()}
    try:
        return _of_text(context, namespace, f"{context.name}/{namespace}/{name}", text)
    except AuthError as err:
        raise AuthError(f"ConfigMap '{namespace}/{name}': {err}") from err


def _of_text(
    context: ClusterContext, namespace: str, called: str, text: dict[str, str]
) -> Credentials:
    account = text.get("serviceAccountName", "") or context.settings.default_service_account
    if account and not accounts.NAME.fullmatch(account):
        raise AuthError(f"serviceAccountName '{account}' is not the name of one")
    provider = text.get("provider", "")
    if provider == GENERIC:
        return _of_token(context, called, namespace, account, text)
    if provider in cloudclusters.PROVIDERS:
        return _of_cloud(called, Identity(context, namespace, account, _audiences(text)), text)
    served = ", ".join(sorted({*cloudclusters.PROVIDERS, GENERIC}))
    raise AuthError(f"provider '{provider}' is none of {served}")


def _of_token(
    context: ClusterContext, called: str, namespace: str, account: str, text: dict[str, str]
) -> Credentials:
    address, authority = _address(text), text.get("ca.crt", "").encode() or None
    if not address:
        raise AuthError("it has no address")
    if not account:
        raise AuthError("it has no serviceAccountName")
    audiences = _audiences(text) or (address,)
    tokens = _Tokens(context, namespace, account, address, authority, audiences)
    connect = functools.partial(open_connection, tokens.material, context.clock)
    key = _digest("token", namespace, account, address, authority, audiences)
    return Credentials(called, key, connect)


def _of_cloud(called: str, identity: Identity, text: dict[str, str]) -> Credentials:
    provider, authority = text["provider"], text.get("ca.crt", "").encode()
    wanted = Wanted(provider, text.get("cluster", ""), _address(text), authority)
    way = Way(identity, wanted)
    connect = functools.partial(open_connection, way.material, identity.context.clock)
    key = _digest("cloud", identity.who, provider, wanted.cluster, wanted.address, authority)
    return Credentials(called, key, connect, cloudclusters.REFUSED[provider])


def _audiences(text: dict[str, str]) -> tuple[str, ...]:
    lines = (line.strip() for line in text.get("audiences", "").splitlines())
    return tuple(line.removeprefix("- ") for line in lines if line)


def _address(text: dict[str, str]) -> str:
    """Return the address of the API server with its scheme; empty where there is none.

    Raises:
        AuthError: it is none to which a token may be sent.
    """
    given = text.get("address", "").rstrip("/")
    address = given if "://" in given or not given else f"https://{given}"
    try:
        url = URL(address)
        is_fit = url.scheme == "https" and bool(url.host) and not (url.user or url.query_string)
    except ValueError:
        is_fit = False
    if address and not is_fit:
        raise AuthError(f"address '{given}' is not such as https://host:port")
    return address
