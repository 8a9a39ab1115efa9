"""Who an object is in a cloud: a ServiceAccount for which its cluster vouches, else the machine.

What is lent is kept in memory, shared by all objects that are the same there, and renewed before it
ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from kube import errors
from reconcilers import accounts, ambient
from sources.auth import devops, roles, tls
from sources.auth.errors import CredentialsError
from sources.auth.keep import Lasting
from sources.oci import clouds
from sources.web import Web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from reconcilers.context import ClusterContext
    from sources.auth.proxy import Proxy
    from sources.bucket.sigv4 import Keys

T = TypeVar("T")

_KIND: Final = b"workload"


@dataclass(frozen=True, slots=True)
class Identity:
    """Borrows as one ServiceAccount, or as the machine; methods raise CredentialsError."""

    context: ClusterContext
    namespace: str
    account: str
    """Empty for the machine."""
    audiences: tuple[str, ...] = ()
    """For whom the cluster's word is; empty for what the cloud expects."""
    proxy: Proxy | None = None
    """On the way to the cloud."""

    @property
    def who(self) -> tuple[str, ...]:
        """Differs for different identities, and tells nothing secret."""
        if not self.account:
            return ("machine",)
        return (self.context.name, self.namespace, self.account, *self.audiences)

    async def aws(self, place: tuple[str, str], endpoint: str = "") -> Lasting[Keys]:
        """Return keys of AWS.

        Args:
            place: the region for which they are, and AWS's domain there.
            endpoint: of the token service; empty for the region's.
        """
        if not self.account:
            return await ambient.machine(self.context).aws(place, endpoint)
        role = roles.check_role((await self._notes()).get(roles.ROLE, ""))

        async def borrow() -> Lasting[Keys]:
            token = await self._token(roles.AUDIENCE)
            session = f"{self.account}.{self.namespace}.{place[0]}"
            async with self.web() as web:
                return Lasting(*await roles.assume(web, place, role, token, session, endpoint))

        return await self.kept(borrow, "aws", role, *place, endpoint)

    async def azure(self, scope: str) -> Lasting[str]:
        """Return a token of Entra ID for a service of Azure."""
        if not self.account:
            return await ambient.machine(self.context).azure(scope)
        tenant, application = await self._application()

        async def borrow() -> Lasting[str]:
            token = await self._token(devops.AUDIENCE)
            async with self.web() as web:
                given = await devops.access(web, tenant, application, token, scope)
            return Lasting(given, self.context.clock.now() + devops.LASTS)

        return await self.kept(borrow, "azure", tenant, application, scope)

    async def google(self, scopes: Sequence[str]) -> Lasting[str]:
        """Return an access token of Google."""
        if not self.account:
            return await ambient.machine(self.context).google(" ".join(scopes))
        notes = await self._notes()
        audience = clouds.pool(notes.get(clouds.GCP_PROVIDER, ""))
        email = clouds.check_account(notes.get(clouds.GCP_ACCOUNT, ""))

        async def borrow() -> Lasting[str]:
            token = await self._token(audience)
            async with self.web() as web:
                clock = self.context.clock
                return await clouds.google(web, audience, email, token, clock, scopes)

        return await self.kept(borrow, "gcp", audience, email, *scopes)

    async def application(self) -> tuple[str, str, str]:
        """Return tenant and id of the account's application at Entra ID, and the word for it.

        For who exchanges that himself.
        """
        return *await self._application(), await self._token(devops.AUDIENCE)

    def web(self) -> Web:
        """Return a client for the cloud, which trusts what the system trusts."""
        return Web(tls.SYSTEM, self.proxy, self.context.contexts, self.context.threads)

    async def kept(self, borrow: Callable[[], Awaitable[Lasting[T]]], *what: str) -> Lasting[T]:
        """Return what was borrowed as this identity, kept until shortly before it ends."""
        parts = (*self.who, "", *what)
        identity = tls.digest(_KIND, *(part.encode() for part in parts))
        return await self.context.lent.get(identity, borrow)

    async def _application(self) -> tuple[str, str]:
        notes = await self._notes()
        tenant, application = notes.get(devops.TENANT, ""), notes.get(devops.CLIENT, "")
        devops.check_application(tenant, application)
        return tenant, application

    async def _notes(self) -> dict[str, str]:
        if not accounts.NAME.fullmatch(self.account):
            raise CredentialsError(f"'{self.account}' is not the name of a ServiceAccount")
        try:
            return await accounts.notes(self.context, self.namespace, self.account)
        except errors.ApiError as err:
            who = f"{self.namespace}/{self.account}"
            raise CredentialsError(f"ServiceAccount '{who}' cannot be read: {err.message}") from err

    async def _token(self, audience: str) -> str:
        try:
            found = await accounts.token(
                self.context, self.namespace, self.account, self.audiences or (audience,)
            )
        except errors.ApiError as err:
            raise CredentialsError(
                f"no token for the ServiceAccount {self.namespace}/{self.account}: {err.message}"
            ) from err
        return found.token
