"""How commands reach clusters: which one is meant, a client for it, and errors for people."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, TypeVar

from cli import progress, settings
from inspection import clusters, failure, survey

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from daemon.settings import Cluster
    from kube.client import Client

T = TypeVar("T")


def chosen(args: argparse.Namespace) -> tuple[Cluster, ...]:
    """Return the clusters that a command line means: the one it names, else all.

    Raises:
        failure.UsageError: there is none of that name, or none at all.
    """
    return clusters.named(settings.load(args), args.cluster, str(settings.path(args)))


def the_one(args: argparse.Namespace) -> Cluster:
    """Return the one cluster that a command line means.

    Raises:
        failure.UsageError: it names none and there are several.
    """
    found = chosen(args)
    if len(found) > 1:
        known = ", ".join(each.name for each in found)
        raise failure.UsageError(f"say which cluster with --cluster: {known}")
    return found[0]


def client(cluster: Cluster) -> AbstractAsyncContextManager[Client]:
    """Open a client for a cluster."""
    return clusters.client(cluster)


def explained(cluster: Cluster) -> AbstractContextManager[None]:
    """Turn what an API server or a kubeconfig refuses into a line that names the cluster.

    Raises:
        failure.CommandError: in place of it.
    """
    return clusters.explained(cluster.name)


def run(main: Coroutine[object, object, T], doing: str = "asking the cluster") -> T:
    """Run a command's asynchronous part.

    Args:
        main: the part.
        doing: what is shown on a terminal while it takes longer than a second.
    """

    async def whole() -> T:
        with progress.shown(doing):
            return await main

    return asyncio.run(whole())


def ask(
    args: argparse.Namespace, question: Callable[[Client], Awaitable[T]]
) -> tuple[list[tuple[str, T]], bool]:
    """Put a question to every cluster that a command line means, all at once.

    What a cluster that is away or refuses has to say goes to standard error; the others answer.

    Returns:
        The answers with the clusters' names, and whether every cluster answered.

    Raises:
        failure.CommandError: the only cluster did not answer.
    """
    found = chosen(args)
    names = ", ".join(each.name for each in found)
    answers = run(survey.ask(found, question), f"asking {names}")
    given = [(each.cluster, each.value) for each in answers if each.value is not None]
    refused = [each for each in answers if each.value is None]
    if refused and not given:
        told = "\n".join(f"cluster {each.cluster}: {each.error}" for each in refused)
        raise failure.CommandError(told)
    for each in refused:
        print(f"gitopsd: cluster {each.cluster}: {each.error}", file=sys.stderr)
    return given, not refused
