"""Packed charts: their files, read without trusting any of it.

Nothing is ever unpacked to disk. An archive that would write elsewhere than into its own folder, or
that holds links or devices, is refused, and so is one that unpacks to more than it may.
"""

from __future__ import annotations

import io
import posixpath
import re
from typing import TYPE_CHECKING, Final

from sources import untar
from sources.helm.errors import ChartError

if TYPE_CHECKING:
    from collections.abc import Callable

UNPACKED_BYTES: Final = 100 * 2**20
"""Bytes that a chart may have once it is unpacked, as in Helm."""
FILES: Final = 20_000
"""Entries that its archive may have; large charts have hundreds."""
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
    files: dict[str, bytes] = {}
    is_empty = True
    try:
        for member in untar.members(io.BytesIO(content), untar.Limits(UNPACKED_BYTES, FILES)):
            if member.kind is untar.Kind.DIRECTORY:
                continue
            is_empty = False
            path = _path(member.name)
            if member.kind is not untar.Kind.FILE:
                raise ChartError(f"chart illegally contains a {member.kind.value}: {path}")
            if is_wanted(path):
                files[path] = b"".join(member.content()).removeprefix(BOM)
    except untar.TooMuchError as err:
        raise ChartError(f"decompressed chart is larger than allowed: {err}") from err
    except untar.ArchiveError as err:
        raise ChartError(f"the chart is no gzipped archive, or a damaged one: {err}") from err
    if is_empty:
        raise ChartError("no files in chart archive")
    return files


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
