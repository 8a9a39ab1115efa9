"""What a machine says about itself: environment, files of the user, addresses of its cloud.

::

    CredentialsError
    └── NoIdentityError    nobody gave this machine an identity
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yarl import URL

from sources import web
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.clock import Clock
    from runtime.limits import Threads
    from sources.web import Web

ANSWER_S: Final = 2.0
"""Seconds in which a cloud answers its own machine. Elsewhere nobody does, and all wait for it."""
_ANSWER_BYTES: Final = 64 * 2**10


class NoIdentityError(CredentialsError):
    """Nobody gave this machine an identity."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a machine is."""

    environ: Mapping[str, str] = field(repr=False)
    home: Path
    """The folder of the user."""
    web: Web
    """How to reach clouds: by no proxy, and none but the system's certificates trusted."""
    threads: Threads
    clock: Clock

    def named(self, *variables: str) -> str:
        """Return the first of some variables that is set, ``""`` where none is."""
        return next((found for each in variables if (found := self.environ.get(each, ""))), "")

    async def read(self, path: str) -> bytes:
        """Return the content of a file that somebody named.

        Raises:
            CredentialsError: it cannot be read.
        """
        try:
            return await self.threads.run(self._expanded(path).read_bytes)
        except OSError as err:
            raise CredentialsError(f"{path} cannot be read: {err.strerror or err}") from err

    async def text(self, path: str) -> str:
        """Return a file's text without white space around it; raises what `read` raises."""
        try:
            return (await self.read(path)).decode().strip()
        except UnicodeDecodeError as err:
            raise CredentialsError(f"{path} is not UTF-8 text") from err

    async def exists(self, path: str) -> bool:
        """Tell whether there is a file."""
        return await self.threads.run(self._expanded(path).is_file)

    async def ask(self, url: str, headers: Mapping[str, str], method: str = "GET") -> bytes:
        """Return what a cloud says to its own machine.

        Raises:
            NoIdentityError: nobody answers there.
            CredentialsError: the answer is a refusal.
        """
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self.web.open(method, URL(url), headers, limit=_ANSWER_BYTES) as body,
            ):
                return await body.read()
        except web.StatusError as err:
            raise CredentialsError(f"the identity of this machine is not told: {err}") from err
        except (web.WebError, TimeoutError) as err:
            where = web.place(URL(url))
            raise NoIdentityError(f"nobody tells the identity of this machine at {where}") from err

    def _expanded(self, path: str) -> Path:
        return self.home / path[2:] if path.startswith("~/") else Path(path)
