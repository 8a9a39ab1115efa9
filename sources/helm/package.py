"""Packs a chart: the same files always give the same bytes."""

from __future__ import annotations

import io
import tarfile
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_MODE: Final = 0o644
_LEVEL: Final = 6
_GZIP: Final = 31


def pack(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a chart's archive. Blocks.

    Entries have no times and no owner, where Helm notes when each file was packed.

    Args:
        files: path, which begins with the chart's name, and content of each, in order.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in files:
            header = tarfile.TarInfo(path)
            header.mode, header.size = _MODE, len(content)
            archive.addfile(header, io.BytesIO(content))
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return compressor.compress(buffer.getbuffer()) + compressor.flush()
