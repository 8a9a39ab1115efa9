"""What others lend for a while, kept until shortly before it ends and shared by all who ask."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.clock import Clock

T = TypeVar("T")

RENEW_BEFORE: Final = dt.timedelta(minutes=5)
"""What has less to live than this is renewed."""
REMEMBERED: Final = 256
"""How much is kept; what was asked for longest ago goes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lasting(Generic[T]):
    """Something that was lent, and when it ends."""

    value: T = field(repr=False)
    ends_at: dt.datetime


@dataclass(slots=True)
class _Kept:
    lent: Lasting[object] | None = None
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Keep:
    """Keeps what was lent, and renews each before it ends.

    Args:
        clock: tells when they end.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[bytes, _Kept] = {}

    async def get(self, identity: bytes, borrow: Callable[[], Awaitable[Lasting[T]]]) -> Lasting[T]:
        """Return what is lent; those who ask together share it.

        Args:
            identity: differs for different borrowers and for different things that are lent.
            borrow: gets a new one.

        Raises:
            CredentialsError: nothing is lent, and nothing is left of what was.
        """
        # Taken out and put in again, so that the order is that of their last use.
        kept = self._kept[identity] = self._kept.pop(identity, _Kept())
        while len(self._kept) > REMEMBERED:
            del self._kept[next(iter(self._kept))]
        async with kept.renewing:
            old = cast("Lasting[T] | None", kept.lent)
            if old is not None and old.ends_at - self._clock.now() >= RENEW_BEFORE:
                return old
            new = await self._renewed(old, borrow)
            kept.lent = cast("Lasting[object]", new)
            return new

    async def _renewed(
        self, old: Lasting[T] | None, borrow: Callable[[], Awaitable[Lasting[T]]]
    ) -> Lasting[T]:
        """Return a new one; an old one that still holds covers a failure."""
        try:
            return await borrow()
        except CredentialsError as err:
            if old is None or old.ends_at <= self._clock.now():
                raise
            logger.warning("a login cannot be renewed yet", extra={"error": str(err)})
            return old
