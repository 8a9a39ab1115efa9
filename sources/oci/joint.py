"""One call for everybody who asks the same meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from sources.oci.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


@dataclass(slots=True)
class _Round(Generic[T]):
    """One call, for everybody who asked before it began."""

    answers: list[T] = field(default_factory=list)
    error: RegistryError | None = None


@dataclass(slots=True)
class _Line(Generic[T]):
    next: _Round[T] = field(default_factory=_Round)
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Joint(Generic[T]):
    """Joins calls with the same key.

    A call that has begun may miss a change that the caller knows of, a push, so who comes later
    joins the next one. Whoever is first calls for all; if that caller is cancelled, the next one
    does. Nothing is kept once nobody waits.
    """

    def __init__(self) -> None:
        self._lines: dict[object, _Line[T]] = {}

    async def call(self, key: object, call: Callable[[], Awaitable[T]]) -> T:
        """Return what ``call()`` gives, for whoever it was made.

        Raises:
            RegistryError: whatever it raised, for everybody.
        """
        line = self._lines.setdefault(key, _Line())
        own = line.next
        line.waiting += 1
        try:
            async with line.busy:
                if own.answers or own.error:
                    pass
                else:
                    line.next = _Round()
                    await _fill(own, call)
        finally:
            line.waiting -= 1
            if not line.waiting:
                self._lines.pop(key, None)
        if own.error is not None:
            raise own.error
        return own.answers[0]


async def _fill(round_: _Round[T], call: Callable[[], Awaitable[T]]) -> None:
    try:
        round_.answers.append(await call())
    except RegistryError as err:
        round_.error = err
