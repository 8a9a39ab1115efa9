"""A Git fetcher for tests, on threads and processes of its own.

::

    async with gitfetch.running(tmp_path) as fetching:
        commit = await fetching.commit(repository, gitref.reference(None))
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.clock import SystemClock
from runtime.limits import Processes, Threads
from runtime.metrics import Metrics
from sources import git, gitref

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sources import gitpack

MAIN = gitref.Exact("refs/heads/main", "main")
"""Branch ``main``."""


@dataclass(frozen=True, slots=True)
class Fetching:
    """A fetcher and what it runs on."""

    fetcher: git.GitFetcher
    threads: Threads
    directory: Path
    """Where its object stores are."""

    async def commit(
        self, repository: git.Repository, reference: gitref.Reference = MAIN
    ) -> git.Commit:
        """Resolve a reference and fetch what it means."""
        candidate = await self.fetcher.resolve(repository, reference)
        return await self.fetcher.fetch(repository, reference, candidate)

    async def files(
        self,
        repository: git.Repository,
        reference: gitref.Reference = MAIN,
        patterns: str | None = None,
    ) -> dict[str, str]:
        """Fetch what a reference means, and return its files as text."""
        tree = (await self.commit(repository, reference)).tree(patterns)

        def read() -> dict[str, str]:
            return {each.path: tree.read(each.path).decode() for each in tree.entries()}

        return await self.threads.run(read)


@asynccontextmanager
async def running(directory: Path, limits: gitpack.Limits | None = None) -> AsyncIterator[Fetching]:
    """Run a fetcher that keeps its stores in a directory."""
    threads = Threads()
    fetcher = git.GitFetcher(directory, threads, Processes(Metrics()), SystemClock(), limits)
    try:
        yield Fetching(fetcher, threads, directory)
    finally:
        await asyncio.to_thread(fetcher.close)
        await threads.aclose()
