"""Credentials that a cloud lends for a Bucket: to its ServiceAccount, else to the daemon's machine.

They go over https to the cloud's own store and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from api import bucket as kind
from kube import errors
from reconcilers import accounts, ambient
from sources.auth import devops, roles, tls
from sources.auth.ambient.surroundings import NoIdentityError
from sources.auth.errors import CredentialsError
from sources.auth.keep import Lasting
from sources.bucket import entra, gcs
from sources.oci import clouds
from sources.web import Web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.bucket import Bucket
    from reconcilers.context import ClusterContext
    from sources.auth.ambient.machine import Machine
    from sources.auth.proxy import Proxy
    from sources.auth.tls import Trust
    from sources.bucket.s3 import Place
    from sources.bucket.sigv4 import Keys

T = TypeVar("T")

STORES: Final = {
    kind.AWS: re.compile(r"https://(?:[a-z0-9.-]+\.)?amazonaws\.com(?:\.cn)?"),
    kind.GCP: re.compile(r"https://storage\.(?:[a-z0-9-]+\.rep\.)?googleapis\.com"),
    kind.AZURE: re.compile(
        r"https://[a-z0-9.-]+\.blob\.(?:core\.windows\.net|core\.usgovcloudapi\.net"
        r"|core\.chinacloudapi\.cn|storage\.azure\.net)"
    ),
}
"""Where each cloud has its buckets."""
STS: Final = re.compile(
    r"https://(?:[a-z0-9.-]+\.)?sts(?:-fips)?(?:\.[a-z0-9-]+)?(?:\.vpce)?\.amazonaws\.com(?:\.cn)?/?"
)
"""Where AWS exchanges a word for keys."""


@dataclass(frozen=True, slots=True)
class Borrower:
    """Borrows for one object; all methods raise CredentialsError where nothing is lent."""

    context: ClusterContext
    obj: Bucket
    trust: Trust
    """By which the store is known."""
    proxy: Proxy | None

    async def keys(self, place: Place) -> Keys:
        """Return keys of AWS for a bucket."""
        self._check_store(place.endpoint)
        service = self.obj.spec.sts
        endpoint = service.endpoint if service else ""
        if endpoint and not STS.fullmatch(endpoint):
            raise CredentialsError(f"'{endpoint}' is no endpoint of AWS's token service")
        domain = "amazonaws.com.cn" if place.endpoint.endswith(".cn") else "amazonaws.com"
        where = (place.signed_region, domain)
        if not self.obj.spec.service_account_name:
            return (await self._machine().aws(where, endpoint)).value
        role = roles.check_role((await self._notes()).get(roles.ROLE, ""))

        async def borrow() -> Lasting[Keys]:
            token = await self._token(roles.AUDIENCE)
            session = f"{self._account}.{self._namespace}.{place.signed_region}"
            async with self._web() as web:
                lent = await roles.assume(web, where, role, token, session, endpoint)
            return Lasting(*lent)

        return await self._kept(borrow, role, *where, endpoint)

    async def google(self, endpoint: str) -> str:
        """Return a token of Google's that may read."""
        self._check_store(endpoint)
        if not self._account:
            return (await self._machine().google(gcs.SCOPE)).value
        notes = await self._notes()
        audience = clouds.pool(notes.get(clouds.GCP_PROVIDER, ""))
        email = clouds.check_account(notes.get(clouds.GCP_ACCOUNT, ""))

        async def borrow() -> Lasting[str]:
            token = await self._token(audience)
            async with self._web() as web:
                return await clouds.google(web, audience, email, token, self.context.clock)

        return await self._kept(borrow, audience, email)

    async def azure(self) -> str:
        """Return a token of Entra ID; ``""`` where the bucket is to be asked as nobody."""
        if not self._account:
            return await self._ambient_azure()
        self._check_store(self.obj.spec.endpoint)
        notes = await self._notes()
        tenant, application = notes.get(devops.TENANT, ""), notes.get(devops.CLIENT, "")
        devops.check_application(tenant, application)

        async def borrow() -> Lasting[str]:
            token = await self._token(devops.AUDIENCE)
            async with self._web() as web:
                given = await devops.access(web, tenant, application, token, entra.SCOPE)
            return Lasting(given, self.context.clock.now() + devops.LASTS)

        return await self._kept(borrow, tenant, application)

    async def _ambient_azure(self) -> str:
        """Return a token of the machine's, if it has one to lend: containers may be public."""
        try:
            machine = ambient.machine(self.context)
        except CredentialsError:
            return ""
        try:
            found = await machine.azure(entra.SCOPE)
        except NoIdentityError:
            return ""
        self._check_store(self.obj.spec.endpoint)
        ambient.check(self.trust)
        return found.value

    @property
    def _account(self) -> str:
        return self.obj.spec.service_account_name

    @property
    def _namespace(self) -> str:
        return self.obj.metadata.namespace

    def _machine(self) -> Machine:
        ambient.check(self.trust)
        return ambient.machine(self.context)

    def _check_store(self, endpoint: str) -> None:
        provider = self.obj.spec.provider
        url = endpoint
        if provider != kind.AZURE:
            url = f"{'http' if self.obj.spec.insecure else 'https'}://{endpoint}"
        parts = urlsplit(url)
        if not STORES[provider].fullmatch(f"{parts.scheme}://{parts.netloc}"):
            raise CredentialsError(
                f"what '{provider}' lends goes over https to its own store only, not to '{url}'"
            )

    async def _notes(self) -> dict[str, str]:
        try:
            return await accounts.notes(self.context, self._namespace, self._account)
        except errors.ApiError as err:
            who = f"{self._namespace}/{self._account}"
            raise CredentialsError(f"ServiceAccount '{who}' cannot be read: {err.message}") from err

    async def _token(self, audience: str) -> str:
        try:
            found = await accounts.token(self.context, self._namespace, self._account, (audience,))
        except errors.ApiError as err:
            raise CredentialsError(
                f"no token for the ServiceAccount {self._namespace}/{self._account}: {err.message}"
            ) from err
        return found.token

    def _web(self) -> Web:
        return Web(tls.SYSTEM, self.proxy, self.context.contexts, self.context.threads)

    async def _kept(self, borrow: Callable[[], Awaitable[Lasting[T]]], *who: str) -> T:
        parts = (self.context.name, self._namespace, self._account, self.obj.spec.provider, *who)
        identity = tls.digest(b"lent-bucket", *(part.encode() for part in parts))
        return (await self.context.lent.get(identity, borrow)).value
