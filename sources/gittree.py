"""A commit's tree as `sources.tree.Tree`, read straight from the object store."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from sources import gitpack, ignore
from sources import tree as trees

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sources.gitstore import Store
    from sources.tree import Entry

_EXECUTABLE = 0o111


class GitTree:
    """What an artifact of one tree contains: regular files that the ignore rules let through.

    Symbolic links and submodules are left out, as in Flux.

    Args:
        store: where the objects are; they are kept there for as long as this lives.
        root: the tree's id, 40 hex digits.
        patterns: ``spec.ignore``.
    """

    def __init__(self, store: Store, root: str, patterns: str | None) -> None:
        self.root = root
        self._store = store
        self._patterns = patterns
        store.protect(self)

    @functools.cached_property
    def id(self) -> str:
        """See `sources.tree.Tree`."""
        return trees.digest(self.entries())

    def entries(self) -> Sequence[Entry]:
        """See `sources.tree.Tree`.

        Raises:
            gitstore.DamagedError: the store has lost the tree.
            gitstore.TooLargeError: the tree is larger than anything sensible.
            tree.UnsafePathError: a path would leave the artifact.
        """
        return self._entries

    def read(self, path: str) -> bytes:
        """See `sources.tree.Tree`."""
        blob = self._blobs.get(path)
        if blob is None:
            raise FileNotFoundError(path)
        return self._store.blob(blob)

    def checkout(self, directory: Path, prefix: str = "") -> None:
        """See `sources.tree.Tree`."""
        trees.write_out(self, directory, prefix)

    @functools.cached_property
    def _entries(self) -> tuple[Entry, ...]:
        files = [
            trees.Entry(trees.check_path(path), blob, _mode(mode))
            for path, mode, blob in self._store.walk(self.root)
            if mode & gitpack.KIND == gitpack.FILE
        ]
        rules = ignore.rules(self._ignore_files(files), self._patterns)
        return tuple(entry for entry in files if not rules.excludes(entry.path))

    @functools.cached_property
    def _blobs(self) -> dict[str, bytes]:
        return {path: blob for path, blob, _ in self._entries}

    def _ignore_files(self, files: Sequence[Entry]) -> list[tuple[str, str]]:
        """Return directory and text of each ignore file, in the order of the walk."""
        found = []
        for path, blob, _ in files:
            directory, _, name = path.rpartition("/")
            if name == ignore.FILE_NAME:
                found.append((directory, self._store.blob(blob).decode("utf-8", "surrogateescape")))
        return sorted(found, key=lambda each: each[0].split("/") if each[0] else [])


def _mode(git_mode: int) -> int:
    return trees.EXECUTABLE_MODE if git_mode & _EXECUTABLE else trees.FILE_MODE
