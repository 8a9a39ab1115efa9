"""What somebody changed in a cluster and the daemon put back.

The daemon remembers the last of it with the fields. Where none runs, the Events that it left in
the cluster tell for an hour, without the fields.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from daemon import report
from inspection import events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kube.client import Client

REASON: Final = "DriftCorrected"
_TEXT: Final = re.compile(
    r"(?P<object>\S+) was (?P<change>edited|deleted|unlabelled|moved)(?: by (?P<who>[^;]+?))?"
    r"(?:;| to another owner)"
)


async def from_events(client: Client) -> list[report.Correction]:
    """Return what the Events of a cluster tell, the oldest first."""
    found = await events.listed(client, reason=REASON)
    return [each for event in found if (each := _read(client.cluster, event)) is not None]


def chosen(
    found: Iterable[report.Correction], *, cluster: str = "", owner: str = "", limit: int = 50
) -> list[report.Correction]:
    """Return the last drifts of a cluster or of an owner, the newest first.

    Args:
        found: what is known, the oldest first.
        cluster: of one cluster only.
        owner: of an owner whose ``Kind/namespace/name`` contains this.
        limit: how many at most.
    """
    kept = [
        each
        for each in found
        if (not cluster or each.cluster == cluster) and owner.lower() in each.owner.lower()
    ]
    return sorted(kept, key=lambda each: each.time, reverse=True)[:limit]


def _read(cluster: str, event: events.Event) -> report.Correction | None:
    match = _TEXT.match(event.message)
    if match is None:
        return None
    owner = event.involved_object
    return report.Correction(
        time=event.when,
        cluster=cluster,
        owner=f"{owner.kind}/{owner.namespace}/{owner.name}",
        object=match["object"],
        change=match["change"],
        who=match["who"] or "",
    )
