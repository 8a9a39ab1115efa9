"""A directory of this machine as `sources.tree.Tree`: what an artifact made of it would contain."""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from sources import ignore
from sources import tree as trees

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sources.tree import Entry

_SKIPPED = ".git"
_EXECUTABLE = 0o111


class LocalTree:
    """The files below a directory that the ignore rules let through, as they are at first sight.

    Symbolic links are left out, as in an artifact. Every method blocks on the disk.

    Args:
        directory: the root.
        patterns: ``spec.ignore`` of the source it stands for.
        paths: the files to consider, relative to the root; None for all there are. Those that
            are not there are passed over.
    """

    def __init__(
        self, directory: Path, patterns: str | None = None, paths: Iterable[str] | None = None
    ) -> None:
        self._directory = directory
        self._patterns = patterns
        self._candidates = paths

    @functools.cached_property
    def id(self) -> str:
        """See `sources.tree.Tree`."""
        return trees.digest(self.entries())

    def entries(self) -> Sequence[Entry]:
        """See `sources.tree.Tree`.

        Raises:
            OSError: a file cannot be read.
        """
        return self._entries

    def read(self, path: str) -> bytes:
        """See `sources.tree.Tree`."""
        if path not in self._paths:
            raise FileNotFoundError(path)
        return (self._directory / path).read_bytes()

    def checkout(self, directory: Path, prefix: str = "") -> None:
        """See `sources.tree.Tree`."""
        trees.write_out(self, directory, prefix)

    @functools.cached_property
    def _entries(self) -> tuple[Entry, ...]:
        found = sorted(self._walk(), key=lambda each: trees.walk_key(each[0]))
        rules = ignore.rules(self._ignore_files([path for path, _ in found]), self._patterns)
        return tuple(
            trees.Entry(path, trees.blob_id((self._directory / path).read_bytes()), mode)
            for path, mode in found
            if not rules.excludes(path)
        )

    @functools.cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(entry.path for entry in self._entries)

    def _walk(self) -> Iterator[tuple[str, int]]:
        """Yield path and mode of each regular file."""
        paths = self._all() if self._candidates is None else self._candidates
        for path in paths:
            file = self._directory / path
            try:
                mode = file.lstat().st_mode
            except FileNotFoundError:
                continue
            if stat.S_ISREG(mode):
                is_program = mode & _EXECUTABLE
                yield path, trees.EXECUTABLE_MODE if is_program else trees.FILE_MODE

    def _all(self) -> Iterator[str]:
        for folder, directories, files in os.walk(self._directory, onerror=_raise):
            directories[:] = [name for name in directories if name != _SKIPPED]
            for name in files:
                yield Path(folder, name).relative_to(self._directory).as_posix()

    def _ignore_files(self, paths: Sequence[str]) -> list[tuple[str, str]]:
        """Return directory and text of each ignore file, parents first."""
        found = []
        for path in paths:
            directory, _, name = path.rpartition("/")
            if name == ignore.FILE_NAME:
                text = (self._directory / path).read_text("utf-8", "surrogateescape")
                found.append((directory, text))
        return sorted(found, key=lambda each: each[0].split("/") if each[0] else [])


def _raise(error: OSError) -> None:
    raise error


def repository_of(directory: Path) -> Path:
    """Return the working tree of Git that a directory lies in, else the directory itself."""
    for parent in (directory, *directory.parents):
        if (parent / _SKIPPED).exists():
            return parent
    return directory
