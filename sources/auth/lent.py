"""Authorization that a cloud lends for a while to whom a cluster vouches for."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from runtime.errors import TransientError
from sources.auth import errors

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable

    from runtime.clock import Clock

RENEW_BEFORE_S: Final = 300.0
"""A loan with less to live than this is renewed."""
FRESH_S: Final = 60.0
"""A loan younger than this is not to blame when a server refuses it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loan:
    """What was lent."""

    authorize: Callable[[str], str] = field(repr=False)
    """Returns the ``Authorization`` header for a URL."""
    ends_at: dt.datetime


class Lender:
    """Keeps a loan, and renews it before it ends.

    Args:
        identity: differs for different borrowers and tells nothing secret of them.
        borrow: gets a loan, or raises `errors.CredentialsError`; may be replaced at any time.
        clock: tells when a loan ends.
    """

    def __init__(
        self, identity: bytes, borrow: Callable[[], Awaitable[Loan]], clock: Clock
    ) -> None:
        self.identity = identity
        self.borrow = borrow
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._loan: Loan | None = None
        self._lent_s = 0.0

    async def authorization(self, url: str) -> str:
        """Return the ``Authorization`` header for a URL; those who ask together share a loan.

        Raises:
            TransientError: nothing is lent.
        """
        async with self._renewing:
            loan = self._loan
            if loan is None or self._left_s(loan) < RENEW_BEFORE_S:
                loan = self._loan = await self._renewed(loan)
                self._lent_s = self._clock.monotonic()
        return loan.authorize(url)

    def doubt(self) -> None:
        """Borrow anew the next time, since a server refused this loan; not a very young one."""
        if self._clock.monotonic() - self._lent_s > FRESH_S:
            self._loan = None

    async def _renewed(self, old: Loan | None) -> Loan:
        """Return a new loan; an old one that still holds covers a failure."""
        try:
            return await self.borrow()
        except errors.CredentialsError as err:
            if old is not None and self._left_s(old) > 0:
                logger.warning("credentials cannot be renewed yet", extra={"error": str(err)})
                return old
            text = f"failed to configure authentication options: {err}"
            raise TransientError(errors.AUTHENTICATION_FAILED, text) from err

    def _left_s(self, loan: Loan) -> float:
        return (loan.ends_at - self._clock.now()).total_seconds()
