"""The forms in which ``gitopsd get`` prints objects."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import orjson

from cli import table
from daemon import report
from inspection import flux
from kube import manifests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inspection.flux import FluxObject

FORMATS: Final = ("table", "wide", "json", "yaml", "name")
_COLUMNS: Final = ("NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE")
_WIDE: Final = ("AGE", "SOURCE", "OWNS")


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns there are."""

    with_cluster: bool = False
    with_namespace: bool = False
    is_wide: bool = False
    by_kind: bool = False
    """Whether each kind has a table of its own."""
    is_single: bool = False
    """Whether one object was asked for by name."""

    @property
    def header(self) -> list[str]:
        """The titles of the columns."""
        first = [(self.with_cluster, "CLUSTER"), (self.with_namespace, "NAMESPACE")]
        shown = [title for is_shown, title in first if is_shown]
        return [*shown, *_COLUMNS[:-1], *(_WIDE if self.is_wide else ()), _COLUMNS[-1]]


def print_all(found: Sequence[FluxObject], form: str, layout: Layout) -> None:
    """Print objects in a form; nothing where there are none and people read it."""
    if form == "json":
        print(as_json(found, is_single=layout.is_single))
    elif form == "yaml":
        print("".join(f"---\n{manifests.dump(_plain(each)).decode()}" for each in found), end="")
    elif form == "name":
        for each in found:
            print(full_name(each))
    elif found:
        print(tables(found, layout))


def as_json(found: Sequence[FluxObject], *, is_single: bool) -> str:
    """Return one object that was asked for by name, else a list of them, as kubectl prints it."""
    if is_single and len(found) == 1:
        return orjson.dumps(_plain(found[0]), option=orjson.OPT_INDENT_2).decode()
    items = [{"cluster": each.cluster, "object": _plain(each)} for each in found]
    return orjson.dumps(items, option=orjson.OPT_INDENT_2).decode()


def full_name(obj: FluxObject) -> str:
    """Return a name as ``kubectl -o name`` prints it."""
    return f"{obj.kind.lower()}.{obj.gvk.group}/{obj.name}"


def tables(found: Iterable[FluxObject], layout: Layout) -> str:
    """Return a table, or one for each kind under its name."""
    if not layout.by_kind:
        return table.render(layout.header, [cells(each, layout) for each in found])
    parts = []
    for kind, members in groupby(sorted(found, key=lambda obj: obj.kind), lambda obj: obj.kind):
        parts.append(f"{kind}\n{table.render(layout.header, [cells(m, layout) for m in members])}")
    return "\n\n".join(parts)


def cells(obj: FluxObject, layout: Layout) -> list[str]:
    """Return the cells of one object."""
    row = flux.row(obj)
    first = [
        cell
        for is_shown, cell in (
            (layout.with_cluster, obj.cluster),
            (layout.with_namespace, obj.namespace),
        )
        if is_shown
    ]
    middle = [row.name, report.short_revision(row.revision), str(row.is_suspended), row.ready]
    message = table.one_line(report.short_revision(row.message), 0)
    return [*first, *middle, *(_wide(obj, row) if layout.is_wide else ()), message]


def _wide(obj: FluxObject, row: report.Row) -> list[str]:
    source = obj.source
    owned = len(obj.inventory)
    named = f"{source.kind}/{source.name}" if source else str(obj.spec.get("url") or "")
    return [table.age(row.since, table.now()), named, str(owned or "")]


def _plain(obj: FluxObject) -> dict[str, object]:
    """Return an object without what only API servers care for."""
    metadata = {key: value for key, value in obj.metadata.items() if key != "managedFields"}
    return obj.raw | {"metadata": metadata}
