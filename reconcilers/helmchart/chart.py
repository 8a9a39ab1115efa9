"""A chart that is worked on: read from its files, changed, and written out as Helm packs it.

::

    ChartError (sources.helm.errors)    Helm could not load it either
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from reconcilers.helmchart import metadata as charts
from reconcilers.helmchart import values
from sources.helm import archive, ignore
from sources.helm.errors import ChartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kube.objects import JsonObject
    from reconcilers.helmchart.metadata import Lock, Metadata
    from sources.tree import Tree

LOCK: Final = "Chart.lock"
OLD_LOCK: Final = "requirements.lock"
VALUES: Final = "values.yaml"
SCHEMA: Final = "values.schema.json"
_OWN: Final = frozenset({charts.FILE, LOCK, VALUES, SCHEMA})
_OLD: Final = frozenset({charts.REQUIREMENTS, OLD_LOCK})
_DEPENDENCIES: Final = "charts/"
_TEMPLATES: Final = "templates/"
_MAX_DEPTH: Final = 20
"""Levels of charts in charts."""


@dataclass(slots=True)
class Chart:
    """A chart in memory."""

    metadata: Metadata
    files: dict[str, bytes] = field(repr=False)
    """Its own files by path: neither dependencies nor `charts.FILE` and the lock."""
    lock: Lock | None = None
    dependencies: list[Chart] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name, as its ``Chart.yaml`` has it."""
        return self.metadata.name

    @property
    def required(self) -> tuple[charts.Dependency, ...]:
        """What it depends on: as it is locked, else as it asks for it."""
        return self.lock.dependencies if self.lock else self.metadata.dependencies

    def read_values(self) -> JsonObject:
        """Return the chart's own values; of several documents, those of the later win.

        Raises:
            ChartError: they cannot be read.
        """
        return values.read(self.files.get(VALUES, b""), VALUES)

    def read_file(self, path: str) -> bytes | None:
        """Return a file out of which values can be merged, None where there is none."""
        is_other = path.startswith(_TEMPLATES) or path == SCHEMA
        return None if is_other else self.files.get(path)

    def replace_values(self, content: bytes) -> None:
        """Give the chart other values.

        Raises:
            ChartError: it has none to replace.
        """
        if VALUES not in self.files:
            raise ChartError(f"failed to locate values file: {VALUES}")
        self.files[VALUES] = content

    def entries(self, prefix: str = "", folder: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield path and content of all files, in the order in which Helm packs them.

        Args:
            prefix: of all paths.
            folder: the chart's own; its name where empty.

        Raises:
            ChartError: a file cannot be part of a packed chart.
        """
        base = posixpath.join(prefix, folder or self.name)
        yield f"{base}/{charts.FILE}", charts.write(self.metadata)
        if self.lock is not None and self.metadata.api_version == charts.V2:
            yield f"{base}/{LOCK}", charts.write(self.lock)
        for name in (VALUES, SCHEMA):
            if name in self.files:
                yield f"{base}/{name}", self.files[name]
        _check_schema(self.files.get(SCHEMA))
        rest = [path for path in self.files if path not in {VALUES, SCHEMA}]
        for path in sorted(rest, key=lambda path: not path.startswith(_TEMPLATES)):
            yield f"{base}/{path}", self.files[path]
        taken = set()
        for each in self.dependencies:
            folder = each.name if each.name not in taken else f"{each.name}-{each.metadata.version}"
            taken.add(folder)
            yield from each.entries(f"{base}/charts", folder)


def load(files: Mapping[str, bytes], depth: int = 0) -> Chart:
    """Return the chart that files are, with the dependencies among them.

    Args:
        files: by their path in the chart.
        depth: of the chart among those that hold it.

    Raises:
        ChartError: it is none.
    """
    if depth > _MAX_DEPTH:
        raise ChartError(f"charts in charts, more than {_MAX_DEPTH} levels deep")
    metadata = charts.read(files)
    is_old = metadata.api_version == charts.V1
    chart = Chart(metadata, {}, _lock(files))
    nested: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        if path.startswith(_DEPENDENCIES) and not path.endswith(".prov"):
            name, _, rest = path.removeprefix(_DEPENDENCIES).partition("/")
            nested.setdefault(name, {})[rest] = content
        elif path not in {charts.FILE, LOCK} and (is_old or path not in _OLD):
            chart.files[path] = content
    for name, inside in nested.items():
        if not name.startswith(("_", ".")):
            chart.dependencies.append(_dependency(chart, name, inside, depth + 1))
    chart.read_values()
    return chart


def load_archive(content: bytes) -> Chart:
    """Return the chart that an archive holds. Blocks.

    Raises:
        ChartError: it holds none.
    """
    return load(archive.read(content))


def load_directory(tree: Tree, directory: str) -> Chart:
    """Return the chart that a directory of a source is, without what its ``.helmignore`` says.

    Blocks where the tree is on disk.

    Args:
        tree: the source's content.
        directory: of the chart, ``""`` for the root.

    Raises:
        ChartError: it is none.
        OSError: the source cannot be read.
    """
    prefix = f"{directory}/" if directory else ""
    paths = [entry.path for entry in tree.entries() if entry.path.startswith(prefix)]
    ignored = f"{prefix}{ignore.FILE_NAME}"
    try:
        text = tree.read(ignored).decode("utf-8", "replace") if ignored in paths else ""
        rules = ignore.Rules(text)
    except ChartError as err:
        raise ChartError(f"cannot load ignore rules for chart: {err}") from err
    files: dict[str, bytes] = {}
    for path in paths:
        inner = path.removeprefix(prefix)
        if not rules.excludes(inner):
            content = tree.read(path)
            if len(content) > archive.FILE_BYTES:
                raise ChartError(
                    f"cannot load file {inner} as file size ({len(content)}) exceeds limit "
                    f"({archive.FILE_BYTES})"
                )
            files[inner] = content.removeprefix(archive.BOM)
    return load(files)


def _lock(files: Mapping[str, bytes]) -> Lock | None:
    for name in (OLD_LOCK, LOCK):
        if name in files:
            return charts.read_lock(files[name], name)
    return None


def _dependency(parent: Chart, name: str, files: Mapping[str, bytes], depth: int) -> Chart:
    """Return the chart below ``charts/`` of that name, packed or not."""
    try:
        if name.endswith(".tgz") and "" in files:
            return load(archive.read(files[""]), depth)
        return load({path: content for path, content in files.items() if path}, depth)
    except ChartError as err:
        raise ChartError(f"error unpacking subchart {name} in {parent.name}: {err}") from err


def _check_schema(content: bytes | None) -> None:
    try:
        if content is not None:
            msgspec.json.decode(content)
    except msgspec.MsgspecError as err:
        raise ChartError(f"invalid JSON in {SCHEMA}") from err
