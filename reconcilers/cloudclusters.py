"""Clusters of clouds, as a ConfigMap of ``spec.kubeConfig.configMapRef`` names them.

A cloud is asked where the cluster is, unless the ConfigMap says that, and lends what opens it. What
it lends goes to its own hosts and to the cluster's API server, whose certificate the cluster's own
authority has to have signed. The identity of the daemon's machine is shown to no server but those
that the cloud itself names, since whoever writes the ConfigMap would choose who gets to see it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from yarl import URL

from api.bucket import AWS, AZURE, GCP
from kube import auth, manifests
from kube.connection import AuthError, Material
from sources.auth.clusters import aks, described, eks, gke
from sources.auth.clusters.described import Described
from sources.auth.errors import CredentialsError
from sources.auth.keep import Lasting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconcilers.workload import Identity

PROVIDERS: Final = frozenset({AWS, AZURE, GCP})
KNOWN_FOR_S: Final = 900.0
"""Seconds for which it is believed where a cluster is. Asked again when two thirds are over."""
REFUSED: Final = {
    AWS: "give the role an access entry in the EKS cluster (aws eks create-access-entry)",
    AZURE: "the AKS cluster has to take tokens of this tenant of Entra ID",
    GCP: "the GKE cluster does not take the tokens of this service account",
}
"""What to do about a cluster that does not know who asks, by provider."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a ConfigMap says."""

    provider: str
    cluster: str
    """As the cloud names it."""
    address: str = ""
    """``https://host:port``; empty for what the cloud says."""
    authority: bytes = field(default=b"", repr=False)
    """PEM; empty for what the cloud says."""


@dataclass(frozen=True, slots=True)
class Way:
    """The way to a cluster of a cloud."""

    identity: Identity
    wanted: Wanted

    async def material(self) -> Material:
        """Return fresh material.

        Raises:
            AuthError: the cloud does not lend it; the message says what to do.
        """
        ways = {AWS: self._aws, AZURE: self._azure, GCP: self._google}
        try:
            return await ways[self.wanted.provider]()
        except CredentialsError as err:
            raise AuthError(str(err)) from err

    async def _aws(self) -> Material:
        cluster = eks.parse(self.wanted.cluster)
        keys, clock = await self.identity.aws(cluster.place), self.identity.context.clock

        async def describe() -> Described:
            async with self.identity.web() as web:
                return await eks.describe(web, cluster, keys.value, clock)

        known = await self._known(describe)
        now = clock.now()
        token = eks.token(cluster, keys.value, now)
        return self._made(known, token, min(now + eks.LASTS, keys.ends_at))

    async def _azure(self) -> Material:
        lent = await self.identity.azure(aks.SCOPE)
        known = await self._known(self._kubeconfigs)
        return self._made(known, lent.value, lent.ends_at)

    async def _google(self) -> Material:
        lent = await self.identity.google(gke.SCOPES)

        async def describe() -> Described:
            name = gke.check(self.wanted.cluster)
            async with self.identity.web() as web:
                return await gke.describe(web, name, lent.value)

        return self._made(await self._known(describe), lent.value, lent.ends_at)

    async def _kubeconfigs(self) -> Described:
        identifier = aks.check(self.wanted.cluster)
        token = (await self.identity.azure(aks.ARM_SCOPE)).value
        async with self.identity.web() as web:
            found = await aks.kubeconfigs(web, identifier, token)
        run = self.identity.context.threads.run
        try:
            servers = dict([auth.address(await run(manifests.load, each)) for each in found])
        except (AuthError, manifests.ManifestError) as err:
            raise described.unusable(aks.subject(identifier)) from err
        if not servers:
            raise described.unusable(aks.subject(identifier))
        return Described(servers)

    async def _known(self, describe: Callable[[], Awaitable[Described]]) -> Described | None:
        """Return where the cluster is; None where the ConfigMap may say so, and does.

        Raises:
            CredentialsError: it is not to be found out, or the ConfigMap may not say what it says.
        """
        wanted, is_machine = self.wanted, not self.identity.account
        if is_machine and wanted.authority:
            raise CredentialsError(
                "the cloud identity of the daemon's machine goes only to servers for which the "
                "cloud vouches: leave out ca.crt, or name a serviceAccountName"
            )
        if wanted.address and wanted.authority:
            return None
        borrow = partial(_lasting, describe, self.identity.context.clock.now)
        found = (await self.identity.kept(borrow, wanted.provider, wanted.cluster)).value
        if is_machine and wanted.address and _match(found, wanted.address) is None:
            raise CredentialsError(
                f"the cluster does not answer at '{wanted.address}' but at "
                f"{', '.join(found.servers)}, and the cloud identity of the daemon's machine goes "
                "nowhere else: correct the address, or name a serviceAccountName"
            )
        return found

    def _made(self, known: Described | None, token: str, ends_at: dt.datetime) -> Material:
        wanted = self.wanted
        server, authority = wanted.address, wanted.authority
        if known is not None:
            usual = next(iter(known.servers))
            found = _match(known, server) if server else usual
            authority = authority or known.servers[found or usual]
            server = server or usual
        return Material(
            server=server.rstrip("/"),
            authorization=f"Bearer {token}",
            authority=authority or None,
            expires_at=ends_at,
        )


async def _lasting(
    describe: Callable[[], Awaitable[Described]], now: Callable[[], dt.datetime]
) -> Lasting[Described]:
    found = await describe()
    if not all(each.startswith("https://") for each in found.servers):
        raise CredentialsError("the cloud names an address of the cluster that is none of https")
    return Lasting(found, now() + dt.timedelta(seconds=KNOWN_FOR_S))


def _match(known: Described, address: str) -> str | None:
    """Return which of a cluster's addresses one is."""
    wanted = URL(address)
    for each in known.servers:
        url = URL(each)
        if (url.host, url.port) == (wanted.host, wanted.port):
            return each
    return None
