"""An artifact's content, put together: a repository, its submodules, what it includes.

The order is Flux's: files are checked out, all of them or those of ``spec.sparseCheckout``; then
come the files of other artifacts; the ignore rules, also those in files that were included, are
applied to all of that.

::

    ValueError
    ├── MissingDirectoryError    nothing is checked out under a path of ``spec.sparseCheckout``
    └── MisplacedError           an included path is not there, or the place for it is taken
"""

from __future__ import annotations

import functools
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sources import ignore
from sources import tree as trees

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sources.tree import Entry, Tree


class MissingDirectoryError(ValueError):
    """A path of ``spec.sparseCheckout`` under which there is nothing."""


class MisplacedError(ValueError):
    """Files that cannot be copied to where they are wanted."""

    def __init__(self, part: Part, text: str) -> None:
        super().__init__(text)
        self.part = part
        """What was to be copied."""


class Files(Protocol):
    """Files that come from one place."""

    def entries(self) -> Sequence[Entry]:
        """Return all of them in the order of a lexical directory walk."""
        ...

    def content(self, entry: Entry) -> bytes:
        """Return what is in one of them."""
        ...


class TreeFiles:
    """The files of another artifact.

    Args:
        tree: its content.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def entries(self) -> Sequence[Entry]:
        """See `Files`."""
        return self._tree.entries()

    def content(self, entry: Entry) -> bytes:
        """See `Files`."""
        return self._tree.read(entry.path)


@dataclass(frozen=True, slots=True)
class Part:
    """Files, and where they belong."""

    files: Files
    target: str = ""
    """The directory they appear under, or the path of the one file that ``source`` names."""
    source: str = ""
    """The directory or file that is meant of them; everything where empty."""

    def placed(self) -> Iterator[tuple[str, Entry]]:
        """Yield the path each file gets, and the file as it is at its origin."""
        if not self.source and not self.target:
            yield from ((entry.path, entry) for entry in self.files.entries())
            return
        for entry in trees.below(self.files.entries(), self.source):
            rest = entry.path[len(self.source) :].lstrip("/")
            yield posixpath.join(self.target, rest), entry
        yield from (
            (self.target, entry) for entry in self.files.entries() if entry.path == self.source
        )


class ComposedTree:
    """What an artifact contains: regular files that the ignore rules let through.

    Args:
        parts: the repository, and its submodules.
        patterns: ``spec.ignore``.
        sparse: ``spec.sparseCheckout``; of the parts, paths that begin with one of these.
        included: what is copied in afterwards, in this order.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        patterns: str | None,
        *,
        sparse: Sequence[str] = (),
        included: Sequence[Part] = (),
    ) -> None:
        self._parts = parts
        self._patterns = patterns
        self._sparse = tuple(path.removeprefix("./") for path in sparse)
        self._included = included

    @functools.cached_property
    def id(self) -> str:
        """See `sources.tree.Tree`."""
        return trees.digest(self.entries())

    def entries(self) -> Sequence[Entry]:
        """See `sources.tree.Tree`.

        Raises:
            OSError: a part has lost its files.
            gitstore.TooLargeError: a tree is larger than anything sensible.
            tree.UnsafePathError: a path would leave the artifact.
            MissingDirectoryError: see there.
            MisplacedError: see there.
        """
        return self._entries

    def read(self, path: str) -> bytes:
        """See `sources.tree.Tree`."""
        found = self._origins.get(path)
        if found is None:
            raise FileNotFoundError(path)
        files, entry = found
        return files.content(entry)

    def checkout(self, directory: Path, prefix: str = "") -> None:
        """See `sources.tree.Tree`."""
        trees.write_out(self, directory, prefix)

    @functools.cached_property
    def _entries(self) -> tuple[Entry, ...]:
        placed = self._all()
        rules = ignore.rules(_ignore_files(placed), self._patterns)
        return tuple(
            entry if entry.path == path else entry._replace(path=path)
            for path, (_, entry) in placed.items()
            if not rules.excludes(path)
        )

    @functools.cached_property
    def _origins(self) -> Mapping[str, tuple[Files, Entry]]:
        return self._all()

    def _all(self) -> dict[str, tuple[Files, Entry]]:
        """Return where each file comes from, ignored ones too, in the order of a walk."""
        placed = {
            path: (part.files, entry)
            for part in self._parts
            for path, entry in part.placed()
            if not self._sparse or path.startswith(self._sparse)
        }
        self._check_sparse(placed)
        for part in self._included:
            _include(placed, part)
        if len(self._parts) + len(self._included) == 1:
            return placed
        return {path: placed[path] for path in sorted(placed, key=trees.walk_key)}

    def _check_sparse(self, placed: Iterable[str]) -> None:
        for wanted in self._sparse:
            path = inside(wanted)
            if path and not any(each == path or each.startswith(f"{path}/") for each in placed):
                raise MissingDirectoryError(
                    f"sparse checkout dir '{wanted}' does not exist in repository: "
                    "no such file or directory"
                )


def inside(path: str) -> str:
    """Return a path as it is meant: relative, and never above its root, which is empty."""
    return posixpath.normpath(f"/{path}").lstrip("/")


def _include(placed: dict[str, tuple[Files, Entry]], part: Part) -> None:
    """Copy files in, as a rename to a path that must be free."""
    coming = dict(part.placed())
    if not coming:
        raise MisplacedError(part, f"{part.source or '/'}: no such file or directory")
    is_file = part.target in coming
    taken = {part.target} & placed.keys() if not is_file else set()
    if taken or not part.target or any(path.startswith(f"{part.target}/") for path in placed):
        raise MisplacedError(part, f"{part.target or '/'}: file exists")
    parent = posixpath.dirname(part.target)
    while parent:
        if parent in placed:
            raise MisplacedError(part, f"{parent}: not a directory")
        parent = posixpath.dirname(parent)
    placed.update((path, (part.files, entry)) for path, entry in coming.items())


def _ignore_files(placed: Mapping[str, tuple[Files, Entry]]) -> list[tuple[str, str]]:
    """Return directory and text of each ignore file, parents first."""
    found = []
    for path, (files, entry) in placed.items():
        directory, _, name = path.rpartition("/")
        if name == ignore.FILE_NAME:
            found.append((directory, files.content(entry).decode("utf-8", "surrogateescape")))
    return sorted(found, key=lambda each: each[0].split("/") if each[0] else [])
