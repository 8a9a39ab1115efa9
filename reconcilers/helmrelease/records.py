"""From one state of a release's record to the next, and from a record to its snapshot. Pure.

The descriptions are Helm's, since ``helm history`` shows them.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from api.helm import HookStatus, Snapshot
from kube.helm import digest, record
from reconcilers.helmrelease.state import Stored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kube.helm.record import Record

API_VERSION = "v2"
"""How the digest of a snapshot is made."""


def stamp(moment: dt.datetime) -> str:
    """Write a time as Go's JSON does: UTC, as many digits of the second as there are."""
    text = moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{text.rstrip('0').rstrip('.')}Z"


def pending(
    rendered: Record,
    last: Record | None,
    *,
    is_upgrade: bool,
    apply_method: str = record.SERVER_SIDE,
    now: dt.datetime,
) -> Record:
    """Return the record to write before anything of a revision is applied.

    Args:
        rendered: what helm rendered.
        last: the newest record in storage.
        is_upgrade: whether the release goes on from it.
        apply_method: how its objects are written.
        now: the time.
    """
    at, status = stamp(now), record.PENDING_INSTALL
    description, first = "Initial install underway", at
    if is_upgrade:
        status, description = record.PENDING_UPGRADE, "Preparing upgrade"
        first = (last.info.first_deployed if last else None) or at
    return rendered.changed(
        version=last.version + 1 if last else 1,
        labels=last.labels if last and is_upgrade else None,
        apply_method=apply_method,
    ).with_info(
        status=status,
        description=description,
        first_deployed=first,
        last_deployed=at,
        deleted=None,
    )


def rolled_back(
    target: Record, last: Record, *, apply_method: str = record.SERVER_SIDE, now: dt.datetime
) -> Record:
    """Return the record to write before a release goes back to an earlier revision."""
    return target.changed(version=last.version + 1, apply_method=apply_method).with_info(
        status=record.PENDING_ROLLBACK,
        description=f"Rollback to {target.version}",
        first_deployed=last.info.first_deployed,
        last_deployed=stamp(now),
        rollback_revision=target.version,
    )


def deployed(pending: Record, description: str) -> Record:
    """Return the record of a revision that is in force."""
    return pending.with_info(status=record.DEPLOYED, description=description)


def failed(pending: Record, description: str) -> Record:
    """Return the record of a revision that failed."""
    return pending.with_info(status=record.FAILED, description=description)


def superseded(former: Record) -> Record:
    """Return the record of a revision that another one took the place of."""
    return former.with_info(status=record.SUPERSEDED)


def unlocked(stale: Record) -> Record:
    """Return the record of a revision whose operation did not end."""
    text = f"Release unlocked from stale '{stale.status}' state"
    return stale.with_info(status=record.FAILED, description=text)


def uninstalling(last: Record, now: dt.datetime) -> Record:
    """Return the record of a release that is being uninstalled."""
    return last.with_info(
        status=record.UNINSTALLING,
        deleted=stamp(now),
        description="Deletion in progress (or silently failed)",
    )


def uninstalled(last: Record) -> Record:
    """Return the record of a release that is gone, where its history is kept."""
    return last.with_info(status=record.UNINSTALLED, description="Uninstallation complete")


def stored(last: Record, oci_digest: str) -> Stored:
    """Return what the state of a release is decided by. Blocking: digests the whole record.

    Args:
        last: the newest record.
        oci_digest: of the artifact that the chart came from, as the history has it.
    """
    return Stored(
        last.name,
        last.namespace,
        last.version,
        last.status,
        last.chart.name,
        last.chart.version,
        digest.of_record(last, oci_digest),
    )


def snapshot(
    last: Record,
    *,
    action: str = "",
    oci_digest: str = "",
    test_hooks: dict[str, HookStatus] | None = None,
) -> Snapshot:
    """Return what the history says of a record. Blocking: digests the whole record.

    Args:
        last: the record, as it is written.
        action: what made it.
        oci_digest: of the artifact that its chart came from.
        test_hooks: how its tests went; None where they were not run.
    """
    info, chart = last.info, last.chart
    return Snapshot(
        api_version=API_VERSION,
        digest=digest.of_record(last, oci_digest),
        name=last.name,
        namespace=last.namespace,
        version=last.version,
        status=info.status,
        action=action,
        chart_name=chart.name,
        chart_version=chart.version,
        app_version=chart.app_version,
        config_digest=digest.of_values(last.config),
        first_deployed=to_seconds(info.first_deployed),
        last_deployed=to_seconds(info.last_deployed),
        deleted=to_seconds(info.deleted) if info.deleted else None,
        test_hooks=test_hooks,
        oci_digest=oci_digest,
    )


def tests_of(last: Record, names: Iterable[str]) -> dict[str, HookStatus]:
    """Return how the tests of a record went, by name.

    Args:
        last: the record.
        names: the tests that were run.
    """
    wanted = frozenset(names)
    return {
        hook.name: HookStatus(
            last_started=to_seconds(hook.last_run.started_at),
            last_completed=to_seconds(hook.last_run.completed_at),
            phase=hook.last_run.phase,
        )
        for hook in last.hooks
        if hook.name in wanted
    }


def to_seconds(moment: str | None) -> str:
    """Cut a time to the second, as the status has it; Go's zero time where there is none."""
    if not moment:
        return "0001-01-01T00:00:00Z"
    try:
        found = dt.datetime.fromisoformat(moment)
    except ValueError:  # more digits than this Python reads
        head, _, tail = moment.partition(".")
        found = dt.datetime.fromisoformat(head + tail.lstrip("0123456789"))
    return found.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
