"""The content of a stored ``tar.gz`` as a tree.

Reading trusts nothing: links, devices and paths that lead outside are passed over, what it unpacks
to is bounded, and what is shown has the identifiers that the Git tree it came from has.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from sources import tree as trees
from sources import untar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedReader
    from pathlib import Path

    from sources.tree import Entry
    from sources.untar import Limits, Member

UNBOUNDED: Final = untar.Limits(size_bytes=2**63, files=2**63)
"""For archives that this daemon wrote itself."""
_EXECUTABLE: Final = 0o111


class _Stored(NamedTuple):
    """A file inside the unpacked content."""

    offset: int
    size: int
    entry: Entry


class ArchiveTree:
    """An archive, unpacked once into a file without a name. Safe in several threads.

    Args:
        path: the archive. It is opened when the tree is first asked something.
        scratch: a directory for the unpacked content, on disk rather than in memory.
        limits: how much it may unpack to.
    """

    def __init__(self, path: Path, scratch: Path, limits: Limits = UNBOUNDED) -> None:
        self._path, self._scratch, self._limits = path, scratch, limits
        self._unpacking = threading.Lock()
        self._handle = -1
        self._files: dict[str, _Stored] = {}
        self._entries: tuple[Entry, ...] | None = None
        self._id = ""

    @property
    def id(self) -> str:
        """See `sources.tree.Tree`."""
        if not self._id:
            self._id = trees.digest(self.entries())
        return self._id

    def entries(self) -> Sequence[Entry]:
        """See `sources.tree.Tree`.

        Raises:
            OSError: the archive cannot be read, is damaged, or holds more than allowed.
        """
        with self._unpacking:
            if self._entries is None:
                self._entries = self._unpack()
            return self._entries

    def read(self, path: str) -> bytes:
        """See `sources.tree.Tree`."""
        self.entries()
        stored = self._files.get(path)
        if stored is None:
            raise FileNotFoundError(path)
        return os.pread(self._handle, stored.size, stored.offset)

    def checkout(self, directory: Path, prefix: str = "") -> None:
        """See `sources.tree.Tree`."""
        trees.write_out(self, directory, prefix)

    def _unpack(self) -> tuple[Entry, ...]:
        # Closed by the finaliser: a tree lives as long as whoever reads it.
        file = tempfile.TemporaryFile(dir=self._scratch, buffering=0)  # noqa: SIM115 - see above
        weakref.finalize(self, file.close)
        self._handle, self._files = file.fileno(), {}
        offset = 0
        try:
            with self._path.open("rb") as packed:
                for member in untar.members(_filled(packed), self._limits):
                    offset += self._take(member, offset)
        except FileNotFoundError as err:
            raise OSError(f"{self._path.name} is not in storage") from err
        except untar.TooMuchError as err:
            raise OSError(f"{self._path.name}: {err}") from err
        except untar.ArchiveError as err:
            raise OSError(f"{self._path.name} is damaged: {err}") from err
        entries = (stored.entry for stored in self._files.values())
        return tuple(sorted(entries, key=lambda entry: trees.walk_key(entry.path)))

    def _take(self, member: Member, offset: int) -> int:
        """Unpack one entry, if it is a file at a safe place; return how many bytes it took."""
        path = _safe(member)
        if path is None:
            return 0
        blob, done = trees.BlobHash(member.size), 0
        for part in member.content():
            blob.update(part)
            done += _write(self._handle, part, offset + done)
        mode = trees.EXECUTABLE_MODE if member.mode & _EXECUTABLE else trees.FILE_MODE
        entry = trees.Entry(path, blob.digest(), mode)
        self._files[path] = _Stored(offset, member.size, entry)
        return done


def _filled(packed: BufferedReader) -> BufferedReader:
    """Refuse an empty file, which is an archive without entries to whoever reads on."""
    if not packed.peek(1):
        raise untar.ArchiveError("it is empty")
    return packed


def _safe(member: Member) -> str | None:
    """Return where a file belongs; None for anything else, and for what leads outside."""
    if member.kind is not untar.Kind.FILE:
        return None
    path = member.name
    while path.startswith("./"):
        path = path[2:]
    try:
        return trees.check_path(path)
    except trees.UnsafePathError:
        return None


def _write(handle: int, data: bytes, offset: int) -> int:
    done = 0
    while done < len(data):
        done += os.pwrite(handle, data[done:], offset + done)
    return done
