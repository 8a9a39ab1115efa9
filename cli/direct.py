"""What the clusters themselves tell, for ``gitopsd status`` where no daemon runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cli import access
from daemon import kinds, report
from inspection import objects, survey
from kube import errors

if TYPE_CHECKING:
    import argparse

    from daemon.kinds import Kind
    from kube.client import Client


def states(args: argparse.Namespace) -> tuple[report.ClusterState, ...]:
    """Ask every cluster that a command line means, all at once.

    Raises:
        failure.UsageError: no cluster has the name that was given.
    """
    chosen = access.chosen(args)
    namespaces = {each.name: each.namespace for each in chosen}

    async def question(client: Client) -> report.ClusterState:
        return await _state(client, namespaces[client.cluster])

    names = ", ".join(namespaces)
    answers = access.run(survey.ask(chosen, question), f"asking {names}")
    return tuple(
        each.value or report.ClusterState(name=each.cluster, state="away", message=each.error)
        for each in answers
    )


async def _state(client: Client, namespace: str) -> report.ClusterState:
    """Return what the API server tells of a cluster; what may not be read is told, too."""
    found: dict[str, list[report.Row]] = {}
    unread: list[str] = []

    async def read(kind: Kind) -> None:
        try:
            found[kind.name] = await objects.rows(client, kind, namespace)
        except errors.Forbidden as err:
            unread.append(f"{kind.name}: {err}")

    try:
        async with asyncio.TaskGroup() as tasks:
            for kind in kinds.ALL:
                tasks.create_task(read(kind), name=f"list {kind.name}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    rows = tuple(row for kind in kinds.ALL for row in found.get(kind.name, ()))
    return report.ClusterState(
        name=client.cluster, state="not served", message="; ".join(unread), rows=rows
    )
