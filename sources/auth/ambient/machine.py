"""The machine as one that can be asked for its identity in each cloud."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from sources.auth import tls
from sources.auth.ambient import aws, azure, google
from sources.auth.ambient.surroundings import NoIdentityError, Surroundings
from sources.auth.keep import Keep
from sources.web import Web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from runtime.clock import Clock
    from runtime.limits import Threads
    from sources.auth.keep import Lasting
    from sources.auth.tls import Contexts
    from sources.bucket.sigv4 import Keys

T = TypeVar("T")

ABSENT_S: Final = 60.0
"""Seconds for which a machine without an identity is not asked again."""


class Machine:
    """Gives out what this machine is in clouds; each is kept until shortly before it ends.

    Args:
        environ: the environment of the process.
        home: the folder of its user.
        contexts: TLS contexts to share.
        threads: reads files and signs.
        clock: tells when something ends.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        home: Path,
        contexts: Contexts,
        threads: Threads,
        clock: Clock,
    ) -> None:
        self._environ, self._home, self._contexts = environ, home, contexts
        self._threads, self._clock = threads, clock
        self._keep = Keep(clock)
        self._absent: dict[str, tuple[float, str]] = {}

    async def aws(self, place: tuple[str, str], endpoint: str = "") -> Lasting[Keys]:
        """Return keys of AWS; see `aws.keys`."""
        borrow = partial(self._near, partial(aws.keys, place=place, endpoint=endpoint))
        return await self._known("aws", " ".join((*place, endpoint)), borrow)

    async def google(self, scope: str) -> Lasting[str]:
        """Return a token of Google; see `google.token`."""
        return await self._known(
            "gcp", scope, partial(self._near, partial(google.token, scope=scope))
        )

    async def azure(self, scope: str) -> Lasting[str]:
        """Return a token of Entra ID; see `azure.token`."""
        return await self._known(
            "azure", scope, partial(self._near, partial(azure.token, scope=scope))
        )

    async def _near(self, ask: Callable[[Surroundings], Awaitable[Lasting[T]]]) -> Lasting[T]:
        async with Web(tls.SYSTEM, None, self._contexts, self._threads) as web:
            here = Surroundings(self._environ, self._home, web, self._threads, self._clock)
            return await ask(here)

    async def _known(
        self, cloud: str, purpose: str, borrow: Callable[[], Awaitable[Lasting[T]]]
    ) -> Lasting[T]:
        return await self._keep.get(
            f"{cloud}:{purpose}".encode(), partial(self._present, cloud, borrow)
        )

    async def _present(self, cloud: str, borrow: Callable[[], Awaitable[Lasting[T]]]) -> Lasting[T]:
        """Borrow, unless it was found out just now that there is nothing.

        Raises:
            NoIdentityError: there is nothing.
        """
        until_s, text = self._absent.get(cloud, (0.0, ""))
        if self._clock.monotonic() < until_s:
            raise NoIdentityError(text)
        try:
            return await borrow()
        except NoIdentityError as err:
            self._absent[cloud] = self._clock.monotonic() + ABSENT_S, str(err)
            raise
