"""The readable form of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import table
from daemon import report

if TYPE_CHECKING:
    import datetime as dt

_MESSAGE = 72
"""Characters of a message in the table; ``--wide`` and ``get`` show all."""
_WELL = frozenset({"synced"})


def render(
    found: report.Report, now: dt.datetime, *, is_running: bool, is_wide: bool = False
) -> str:
    """Return the whole text.

    Args:
        found: what there is to show.
        now: what ages are counted from.
        is_running: whether the daemon made the report.
        is_wide: whole messages, and how drift of each kind is seen.
    """
    parts = [_daemon(found, now) if is_running else _no_daemon(found)]
    if found.config_error:
        parts.append(f"settings: {found.config_error}")
    if not found.clusters:
        parts.append(f"no clusters: add [[clusters]] to {found.config}")
    parts += [_cluster(each, now, is_wide=is_wide) for each in found.clusters]
    return "\n\n".join(parts)


def is_well(found: report.Report) -> bool:
    """Tell whether every cluster is synced and every object that is not suspended is ready."""
    return not found.config_error and all(
        each.state in _WELL and all(row.ready == "True" or row.is_suspended for row in each.rows)
        for each in found.clusters
    )


def _daemon(found: report.Report, now: dt.datetime) -> str:
    listeners = ", ".join(f"{name} {address}" for name, address in found.listeners.items())
    return (
        f"gitopsd {found.version}, process {found.pid}, up {table.age(found.started, now)}, "
        f"memory {table.mebibytes(found.memory_bytes)}\n"
        f"listens: {listeners or 'nowhere'}"
    )


def _no_daemon(found: report.Report) -> str:
    return (
        f"The daemon of {found.config} is NOT RUNNING: nothing below is being reconciled by it.\n"
        "Start it with `gitopsd run` or `gitopsd service install`."
    )


def _cluster(each: report.ClusterState, now: dt.datetime, *, is_wide: bool) -> str:
    """Return one cluster: a headline, what is not reconciled and why, and its objects."""
    since = f" for {table.age(each.since, now)}" if each.since else ""
    where = f" ({each.server}, {each.version})" if each.version else ""
    lines = [f"cluster {each.name}: {each.state}{since}{where}"]
    if each.message:
        lines.append(f"  {table.one_line(each.message, 0)}")
    lines += [
        f"  {kind.kind}: {kind.mode}{f': {kind.reason}' if kind.reason else ''}"
        for kind in each.kinds
        if kind.mode != "reconciling"
    ]
    lines += [
        f"  {kind.kind}: {kind.queued} queued, {kind.active} active"
        for kind in each.kinds
        if kind.queued or kind.active
    ]
    if is_wide:
        lines += [f"  drift of {name}: by {mode}" for name, mode in each.watches.items()]
    if each.rows:
        lines.append(_rows(each.rows, now, 0 if is_wide else _MESSAGE))
    return "\n".join(lines)


def _rows(rows: tuple[report.Row, ...], now: dt.datetime, limit: int) -> str:
    """Return the objects as a table."""
    header = ("KIND", "NAMESPACE/NAME", "REVISION", "READY", "AGE", "DRIFT", "MESSAGE")
    return table.render(
        header,
        [
            (
                row.kind,
                f"{row.namespace}/{row.name}",
                report.short_revision(row.revision),
                "Suspended" if row.is_suspended else row.ready,
                table.age(row.since, now),
                str(row.corrections) if row.corrections else "",
                table.one_line(report.short_revision(row.message), limit),
            )
            for row in rows
        ],
        indent="  ",
    )
