"""``spec.kubeConfig``: from a Secret or a ConfigMap to credentials for another cluster.

Both are read with the daemon's own identity from the object's namespace. A kubeconfig comes from a
tenant: it may neither run a program here, nor read a file, nor do without a certificate, unless the
settings of the machine allow it.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from api import meta, served
from kube import auth, errors, manifests, references
from kube.connection import AuthError, Material, open_connection
from kube.objects import ObjectId
from kube.remotes import Credentials
from reconcilers import accounts, referenced
from runtime.errors import TerminalError

if TYPE_CHECKING:
    from api.kustomize import KubeConfig
    from kube.connection import Connection
    from reconcilers.context import ClusterContext

GENERIC: Final = "generic"
"""The one provider of a ConfigMap that is served: a token of a ServiceAccount."""
ACCOUNT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""What a ServiceAccount may be called."""
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
        TerminalError: a cloud's tokens are wanted, which are not served.
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
    provider = text.get("provider", "")
    if provider != GENERIC:
        field = f"spec.kubeConfig.configMapRef with provider={provider}"
        raise TerminalError(meta.NOT_SERVED, served.message((field,)))
    account, address = text.get("serviceAccountName", ""), text.get("address", "").rstrip("/")
    if not address.startswith("https://"):
        raise AuthError(f"ConfigMap '{namespace}/{name}' has no address that begins with https://")
    if not ACCOUNT_NAME.fullmatch(account):
        raise AuthError(f"ConfigMap '{namespace}/{name}' has no serviceAccountName")
    lines = text.get("audiences", "").splitlines()
    audiences = tuple(line.strip().removeprefix("- ") for line in lines if line.strip())
    tokens = _Tokens(
        context,
        namespace,
        account,
        address,
        text["ca.crt"].encode() if text.get("ca.crt") else None,
        audiences or (address,),
    )
    key = _digest("token", namespace, account, address, tokens.authority, tokens.audiences)
    connect = functools.partial(open_connection, tokens.material, context.clock)
    return Credentials(f"{context.name}/{namespace}/{name}", key, connect)
