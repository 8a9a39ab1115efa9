"""Credentials that a cloud lends for a Bucket: to its ServiceAccount, else to the daemon's machine.

They go over https to the cloud's own store and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from api import bucket as kind
from reconcilers import ambient
from reconcilers.workload import Identity
from sources.auth.ambient.surroundings import NoIdentityError
from sources.auth.errors import CredentialsError
from sources.bucket import entra, gcs
from sources.oci import clouds

if TYPE_CHECKING:
    from api.bucket import Bucket
    from reconcilers.context import ClusterContext
    from sources.auth.proxy import Proxy
    from sources.auth.tls import Trust
    from sources.bucket.s3 import Place
    from sources.bucket.sigv4 import Keys

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
        return (await self._identity().aws(where, endpoint)).value

    async def google(self, endpoint: str) -> str:
        """Return a token of Google's that may read."""
        self._check_store(endpoint)
        scope = clouds.GOOGLE_SCOPE if self._account else gcs.SCOPE
        return (await self._identity().google((scope,))).value

    async def azure(self) -> str:
        """Return a token of Entra ID; ``""`` where the bucket is to be asked as nobody."""
        if not self._account:
            return await self._ambient_azure()
        self._check_store(self.obj.spec.endpoint)
        return (await self._identity().azure(entra.SCOPE)).value

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

    def _identity(self) -> Identity:
        """Return whom the cloud lends to; a machine is shown to whom the system trusts alone."""
        if not self._account:
            ambient.check(self.trust)
        namespace = self.obj.metadata.namespace
        return Identity(self.context, namespace, self._account, proxy=self.proxy)

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
