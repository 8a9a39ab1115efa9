"""Packed charts: their files, read without trusting any of it.

Nothing is ever unpacked to disk. An archive that would write elsewhere than into its own folder, or
that holds links or devices, is refused, and so is one that unpacks to more than it may.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import re
import tarfile
import zlib
from typing import TYPE_CHECKING, Final

from sources.helm.errors import ChartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNPACKED_BYTES: Final = 100 * 2**20
"""Bytes that a chart may have once it is unpacked, as in Helm."""
FILE_BYTES: Final = 5 * 2**20
"""Bytes that one file of a chart in a source may have, as in Flux."""
BOM: Final = b"\xef\xbb\xbf"
_DRIVE: Final = re.compile(r"[a-zA-Z]:/")


def read(content: bytes, is_wanted: Callable[[str], bool] = lambda _: True) -> dict[str, bytes]:
    """Return the files of a packed chart by their path in it, in the archive's order. Blocks.

    Args:
        content: the archive.
        is_wanted: of which files the content is wanted; all paths are looked at.

    Raises:
        ChartError: it is no archive, is too large, or holds what no chart may.
    """
    stream = _Bounded(gzip.GzipFile(fileobj=io.BytesIO(content)))
    files: dict[str, bytes] = {}
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for path, member in _members(archive):
                count += 1
                if is_wanted(path):
                    files[path] = _content(archive, member).removeprefix(BOM)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as err:
        raise ChartError(f"the chart is no gzipped archive, or a damaged one: {err}") from err
    if not count:
        raise ChartError("no files in chart archive")
    return files


class _Bounded(io.RawIOBase):
    """Reads a stream up to the limit on what a chart unpacks to."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = UNPACKED_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ChartError(f"decompressed chart is larger than the maximum size {UNPACKED_BYTES}")
        return data


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield the path and the header of each file."""
    for member in archive:
        if member.isdir():
            continue
        path = _path(member.name)
        if not member.isreg():
            kind = "link" if member.islnk() or member.issym() else "device"
            raise ChartError(f"chart illegally contains a {kind}: {path}")
        yield path, member


def _path(name: str) -> str:
    """Return the path below the chart's folder that an entry is for."""
    delimiter = "\\" if "\\" in name else "/"
    folder, _, rest = name.partition(delimiter)
    path = rest.replace(delimiter, "/")
    if path.startswith("/"):
        raise ChartError("chart illegally contains absolute paths")
    path = posixpath.normpath(path) if path else "."
    if path == ".":
        raise ChartError(f"chart illegally contains content outside the base directory: {name!r}")
    if path.startswith(".."):
        raise ChartError("chart illegally references parent directory")
    if _DRIVE.match(path):
        raise ChartError("chart contains illegally named files")
    if folder == "Chart.yaml":
        raise ChartError("chart yaml not in base directory")
    return path


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""
