"""Digests that outlive the process, so that a start with nothing to do sends nothing.

One small file per cluster holds, for every object, a digest of its uid, of what was last applied
and of the ownership right after. It is a cache: losing it costs one dry run per object, and a file
that is damaged or of another format is the same as none.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from kube.desired import DIGEST_SIZE, digest

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAGIC: Final = b"gitopsd-baseline\x00\x02"
_RECORD: Final = 3 * DIGEST_SIZE


class Baseline(NamedTuple):
    """What an object looked like right after it was applied."""

    uid: str
    desired: bytes
    """Digest of the bytes that were sent."""
    ownership: bytes
    """Digest of our ownership afterwards; empty for an object that is only kept in existence."""


def load(path: Path) -> dict[bytes, bytes]:
    """Read a baseline file.

    Returns:
        By digest of the uid, the digests of what was applied and of the ownership, joined; empty
        when the file is absent, damaged or of another format.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    body, checksum = data[len(_MAGIC) : -DIGEST_SIZE], data[-DIGEST_SIZE:]
    if not data.startswith(_MAGIC) or len(body) % _RECORD or digest(body) != checksum:
        return {}
    records = (body[at : at + _RECORD] for at in range(0, len(body), _RECORD))
    return {record[:DIGEST_SIZE]: record[DIGEST_SIZE:] for record in records}


def save(path: Path, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Replace a baseline file in one step, readable by its owner alone.

    Args:
        path: the file; its directory is created.
        pairs: as `load` returns them.

    Raises:
        OSError: the directory cannot be written.
    """
    body = b"".join(key + digests for key, digests in pairs)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + body + digest(body))
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def key_of(uid: str) -> bytes:
    """Return the key of an object in the file."""
    return digest(uid.encode())


def pack(baseline: Baseline) -> tuple[bytes, bytes]:
    """Return a baseline as a pair of the file; an empty ownership becomes zeros."""
    return key_of(baseline.uid), baseline.desired + baseline.ownership.ljust(DIGEST_SIZE, b"\0")


def unpack(uid: str, digests: bytes) -> Baseline:
    """Return the baseline of an object from the digests of the file."""
    desired, ownership = digests[:DIGEST_SIZE], digests[DIGEST_SIZE:]
    return Baseline(uid, desired, ownership if any(ownership) else b"")
