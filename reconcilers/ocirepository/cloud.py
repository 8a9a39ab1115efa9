"""``provider: aws``, ``azure`` and ``gcp``: an identity opens a registry.

As for Git: that of a ServiceAccount, for which the cluster vouches, else that of the daemon's own
machine, if the cluster may use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kube import errors
from reconcilers import accounts, ambient
from sources.auth import devops, roles, tls
from sources.auth.errors import CredentialsError
from sources.oci import clouds
from sources.web import Web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.oci import OCIRepository
    from reconcilers.context import ClusterContext
    from sources.auth.ambient.machine import Machine
    from sources.auth.proxy import Proxy
    from sources.oci.clouds import Lent
    from sources.oci.keychain import Login


async def login(
    context: ClusterContext, obj: OCIRepository, host: str, proxy: Proxy | None
) -> Login:
    """Return the login that the object's provider lends to its ServiceAccount.

    Args:
        context: the cluster.
        obj: names provider and ServiceAccount.
        host: the registry's.
        proxy: on the way to the cloud.

    Raises:
        CredentialsError: the ServiceAccount or the registry do not do, or nothing is lent.
    """
    namespace, account = obj.metadata.namespace, obj.spec.service_account_name
    try:
        notes = await accounts.notes(context, namespace, account)
    except errors.ApiError as err:
        raise CredentialsError(
            f"ServiceAccount '{namespace}/{account}' cannot be read: {err.message}"
        ) from err
    borrower = _Borrower(context, namespace, account, host, proxy)
    who, borrow = _ways(borrower, obj.spec.provider, notes)
    parts = (context.name, namespace, account, obj.spec.provider, host, *who)
    identity = tls.digest(b"lent-login", *(part.encode() for part in parts))
    return (await context.oci.borrowed.get(identity, borrow)).value


async def ambient_login(
    context: ClusterContext, provider: str, host: str, proxy: Proxy | None
) -> Login:
    """Return the login that a provider lends to the daemon's own machine.

    Args:
        context: the cluster.
        provider: whose registry it is.
        host: the registry's.
        proxy: on the way to the cloud.

    Raises:
        CredentialsError: the cluster may not use that, the registry is not the cloud's, or nothing
            is lent.
    """
    borrow = _own_ways(_Own(ambient.machine(context), context, host, proxy), provider)
    identity = tls.digest(b"ambient-login", provider.encode(), host.encode())
    return (await context.oci.borrowed.get(identity, borrow)).value


@dataclass(frozen=True, slots=True)
class _Own:
    """Borrows for the machine and one registry; every method raises CredentialsError."""

    machine: Machine
    context: ClusterContext
    host: str
    proxy: Proxy | None

    async def aws(self) -> Lent:
        keys = (await self.machine.aws(clouds.ecr_place(self.host))).value
        async with _web(self.context, self.proxy) as web:
            return await clouds.ecr(web, self.host, keys, self.context.clock)

    async def azure(self) -> Lent:
        given = (await self.machine.azure(clouds.ACR_SCOPE)).value
        async with _web(self.context, self.proxy) as web:
            return await clouds.acr(web, self.host, given, self.context.clock)

    async def gcp(self) -> Lent:
        return clouds.gar(await self.machine.google(clouds.GOOGLE_SCOPE))


def _own_ways(own: _Own, provider: str) -> Callable[[], Awaitable[Lent]]:
    """Return how the machine borrows.

    Raises:
        CredentialsError: the registry is not the cloud's.
    """
    if provider == clouds.AWS:
        clouds.ecr_place(own.host)
        return own.aws
    if provider == clouds.AZURE:
        clouds.check_acr(own.host)
        return own.azure
    clouds.check_gar(own.host)
    return own.gcp


def _web(context: ClusterContext, proxy: Proxy | None) -> Web:
    return Web(tls.SYSTEM, proxy, context.contexts, context.threads)


@dataclass(frozen=True, slots=True)
class _Borrower:
    """Borrows for one ServiceAccount and one registry; every method raises CredentialsError."""

    context: ClusterContext
    namespace: str
    account: str
    host: str
    proxy: Proxy | None

    async def aws(self, role: str) -> Lent:
        place = clouds.ecr_place(self.host)
        token = await self._token(roles.AUDIENCE)
        session = f"{self.account}.{self.namespace}.{place[0]}"
        async with self._web() as web:
            keys, _ = await roles.assume(web, place, role, token, session)
            return await clouds.ecr(web, self.host, keys, self.context.clock)

    async def azure(self, tenant: str, application: str) -> Lent:
        token = await self._token(devops.AUDIENCE)
        async with self._web() as web:
            given = await devops.access(web, tenant, application, token, clouds.ACR_SCOPE)
            return await clouds.acr(web, self.host, given, self.context.clock)

    async def gcp(self, audience: str, email: str) -> Lent:
        token = await self._token(audience)
        async with self._web() as web:
            clock = self.context.clock
            return clouds.gar(await clouds.google(web, audience, email, token, clock))

    def _web(self) -> Web:
        return _web(self.context, self.proxy)

    async def _token(self, audience: str) -> str:
        try:
            found = await accounts.token(self.context, self.namespace, self.account, (audience,))
        except errors.ApiError as err:
            raise CredentialsError(
                f"no token for the ServiceAccount {self.namespace}/{self.account}: {err.message}"
            ) from err
        return found.token


def _ways(
    borrower: _Borrower, provider: str, notes: dict[str, str]
) -> tuple[tuple[str, ...], Callable[[], Awaitable[Lent]]]:
    """Return who the ServiceAccount is in the cloud, and how to borrow as that.

    Raises:
        CredentialsError: the annotations do not say, or the registry is not the cloud's.
    """
    if provider == clouds.AWS:
        clouds.ecr_place(borrower.host)
        role = roles.check_role(notes.get(roles.ROLE, ""))
        return (role,), partial(borrower.aws, role)
    if provider == clouds.AZURE:
        clouds.check_acr(borrower.host)
        tenant, application = notes.get(devops.TENANT, ""), notes.get(devops.CLIENT, "")
        devops.check_application(tenant, application)
        return (tenant, application), partial(borrower.azure, tenant, application)
    clouds.check_gar(borrower.host)
    audience = clouds.pool(notes.get(clouds.GCP_PROVIDER, ""))
    email = clouds.check_account(notes.get(clouds.GCP_ACCOUNT, ""))
    return (audience, email), partial(borrower.gcp, audience, email)
