"""Build directories that are kept, so that a build writes only what changed since the last one.

A kept directory holds files of an artifact as they were and nothing else: no file that was
decrypted, and not the kustomization file of the build, into which the spec may have put anything.
Before a file counts as written it is looked at, and written again where somebody touched it.
Directories of an earlier process are swept away by `Workplace.clean`, since nobody knows any more
what is in them.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from sources import tree as trees

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sources.tree import Entry, Tree

MAX_FILES: Final = 20_000
"""Files in all kept directories of one cluster together; each costs 0.3 KiB of memory."""
MAX_BYTES: Final = 256 * 1024 * 1024
"""Their size on disk."""


class _Stamp(NamedTuple):
    """What changes when somebody touches a file."""

    inode: int
    changed_ns: int
    size: int


class _Written(NamedTuple):
    entry: Entry
    stamp: _Stamp


class Checkout:
    """One directory with files of an artifact. Every method blocks on the file system.

    Args:
        directory: it; empty, and nobody else writes there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.size_bytes = 0
        """How large the files are together."""
        self._written: dict[str, _Written] = {}

    def __len__(self) -> int:
        return len(self._written)

    def update(self, tree: Tree, wanted: Iterable[Entry]) -> int:
        """Make the directory hold some files of a tree and no others.

        Args:
            tree: has their content.
            wanted: the files.

        Returns:
            How many were written.

        Raises:
            UnsafePathError: a path would leave the directory.
            OSError: the file system refused.
        """
        entries = {trees.check_path(entry.path): entry for entry in wanted}
        for path in [
            path for path, each in self._written.items() if not self._holds(each, entries)
        ]:
            self._remove(path)
        new = [entry for path, entry in entries.items() if path not in self._written]
        for entry in new:
            self._write(entry, tree.read(entry.path))
        self.size_bytes = sum(each.stamp.size for each in self._written.values())
        return len(new)

    def _holds(self, written: _Written, wanted: dict[str, Entry]) -> bool:
        """Whether a file is wanted as it was written, and still is as it was written."""
        path = written.entry.path
        return wanted.get(path) == written.entry and _stamp(self.directory / path) == written.stamp

    def _write(self, entry: Entry, content: bytes) -> None:
        target = self.directory / entry.path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(target, flags, entry.mode), "wb") as file:
            file.write(content)
        self._written[entry.path] = _Written(entry, _stamp(target))

    def _remove(self, path: str) -> None:
        """Remove a file, and the directories that it alone was in: kustomize sees them too."""
        del self._written[path]
        target = self.directory / path
        target.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for parent in list(Path(path).parents)[:-1]:
                (self.directory / parent).rmdir()


class Checkouts:
    """The kept directories, by the name of their build; those used longest ago go first.

    A directory that is in use belongs to its user alone: `take` hands it out, `give` takes it back.

    Args:
        max_files: see `MAX_FILES`.
        max_bytes: see `MAX_BYTES`.
    """

    def __init__(self, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
        self._max_files, self._max_bytes = max_files, max_bytes
        self._kept: OrderedDict[str, Checkout] = OrderedDict()

    def take(self, name: str) -> Checkout | None:
        """Return what is kept for a build, which is not kept any more."""
        return self._kept.pop(name, None)

    def give(self, name: str, checkout: Checkout) -> list[Checkout]:
        """Keep a directory.

        Returns:
            Those that there is no room for, this one perhaps, to be removed.
        """
        dropped = [before] if (before := self.take(name)) else []
        self._kept[name] = checkout
        while self._is_over():
            _, oldest = self._kept.popitem(last=False)
            dropped.append(oldest)
        return dropped

    def _is_over(self) -> bool:
        kept = self._kept.values()
        files = sum(len(each) + 1 for each in kept)
        size_bytes = sum(each.size_bytes for each in kept)
        return bool(kept) and (files > self._max_files or size_bytes > self._max_bytes)


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _ABSENT
    return _Stamp(found.st_ino, found.st_ctime_ns, found.st_size)


_ABSENT: Final = _Stamp(0, 0, 0)
