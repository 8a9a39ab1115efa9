"""The content of a layer, unpacked: what of it becomes an artifact.

As in Flux: symbolic links are passed over, names that would leave the directory and devices are
refused, and the ignore rules hold. A hard link, which Flux turns into an empty file, is refused.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, BinaryIO, Self

from sources import ignore, untar
from sources import tree as trees
from sources.untar import ArchiveError, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sources.tree import Entry
    from sources.untar import Limits, Member

_EXECUTABLE = 0o111


class LayerTree:
    """A layer as `sources.tree.Tree`, kept in a file without a name until it is closed.

    Args:
        layer: the ``tar.gz``, at its start. It is read at once, which blocks.
        scratch: a directory for the unpacked content.
        patterns: ``spec.ignore``.
        limits: how much the layer may unpack to.

    Raises:
        ArchiveError: the layer is not let in, see `sources.untar`.
        OSError: the disk refused.
    """

    def __init__(
        self, layer: BinaryIO, scratch: Path, patterns: str | None, limits: Limits
    ) -> None:
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by close()
        self._found: dict[str, tuple[int, Entry]] = {}
        self._sizes: dict[str, int] = {}
        try:
            for member in untar.members(layer, limits):
                self._take(member)
            self._check_directories()
            self._entries = self._kept(patterns)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """See `sources.tree.Tree`."""
        return trees.digest(self._entries)

    def entries(self) -> Sequence[Entry]:
        """See `sources.tree.Tree`."""
        return self._entries

    def read(self, path: str) -> bytes:
        """See `sources.tree.Tree`."""
        if path not in self._found:
            raise FileNotFoundError(path)
        self._file.seek(self._found[path][0])
        return self._file.read(self._sizes[path])

    def checkout(self, directory: Path, prefix: str = "") -> None:
        """See `sources.tree.Tree`."""
        trees.write_out(self, directory, prefix)

    def close(self) -> None:
        """Give the disk space back; nothing can be read any more."""
        self._file.close()

    def _take(self, member: Member) -> None:
        path = _safe(member)
        match member.kind:
            case Kind.FILE:
                offset = self._file.tell()
                blob = trees.BlobHash(member.size)
                for part in member.content():
                    self._file.write(part)
                    blob.update(part)
                mode = trees.EXECUTABLE_MODE if member.mode & _EXECUTABLE else trees.FILE_MODE
                self._found[path] = (offset, trees.Entry(path, blob.digest(), mode))
                self._sizes[path] = member.size
            case Kind.LINK | Kind.OTHER:
                raise ArchiveError(
                    f"tar file entry {member.name} contained unsupported file type: "
                    f"{member.kind.value}"
                )
            case Kind.DIRECTORY | Kind.SYMLINK:
                pass

    def _check_directories(self) -> None:
        """Refuse a path that is a file and a directory at once."""
        for path in self._found:
            parent = path.rpartition("/")[0]
            while parent:
                if parent in self._found:
                    raise ArchiveError(f"tar file entry {parent} is a file and a directory")
                parent = parent.rpartition("/")[0]

    def _kept(self, patterns: str | None) -> tuple[Entry, ...]:
        files = sorted(
            (entry for _, entry in self._found.values()),
            key=lambda entry: trees.walk_key(entry.path),
        )
        texts = [
            (path.rpartition("/")[0], self.read(path).decode("utf-8", "surrogateescape"))
            for path in self._found
            if path.rpartition("/")[2] == ignore.FILE_NAME
        ]
        # Parents come first, so that what is nearer to a file decides about it.
        texts.sort(key=lambda each: each[0].split("/") if each[0] else [])
        rules = ignore.rules(texts, patterns)
        return tuple(entry for entry in files if not rules.excludes(entry.path))


def _safe(member: Member) -> str:
    """Return the path of an entry, without the ``./`` that many archives put in front.

    Raises:
        ArchiveError: it would leave the directory, or is no path.
    """
    name = member.name
    parts = [part for part in name.split("/") if part not in {"", "."}]
    is_empty = not parts and member.kind is not Kind.DIRECTORY
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or is_empty:
        raise ArchiveError(f'tar contained invalid name error "{name}"')
    return "/".join(parts)
