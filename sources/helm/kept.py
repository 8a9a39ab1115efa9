"""What is kept of an index between two looks at its repository: its file, and how to ask for news.

One folder holds the converted files, named by the digest of what the server sent, and a note of
which of them is the current one. All of it may be deleted at any time.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

STATE: Final = "state.json"
FORMAT: Final = 1
"""To be changed with what `sources.helm.convert` writes."""


class State(msgspec.Struct, frozen=True):
    """What is known of the current index."""

    format: int
    digest: str
    """SHA-256, in hex, of what the server sent."""
    etag: str = ""
    last_modified: str = ""

    @property
    def file(self) -> str:
        """The name of the converted file."""
        return f"{self.digest}.json"

    @property
    def conditions(self) -> dict[str, str]:
        """The headers that ask for another index than this one."""
        pairs = (("If-None-Match", self.etag), ("If-Modified-Since", self.last_modified))
        return {name: value for name, value in pairs if value}


def read(folder: Path) -> State | None:
    """Return what is known of the index in a folder; None where there is none to use."""
    try:
        state = msgspec.json.decode((folder / STATE).read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return None
    return state if state.format == FORMAT and (folder / state.file).is_file() else None


def write(folder: Path, state: State, before: State | None) -> None:
    """Note which index is here now, and delete those before the one before it.

    Raises:
        OSError: the disk refused.
    """
    written = folder / f".{STATE}"
    written.write_bytes(msgspec.json.encode(state))
    written.replace(folder / STATE)
    used = {STATE, *(each.file for each in (state, before) if each)}
    for path in folder.glob("*.json"):
        if path.name not in used:
            path.unlink(missing_ok=True)


def sweep(directory: Path, oldest: float) -> None:
    """Delete the folders below a directory that were last used before a time.

    Args:
        directory: that holds the folders.
        oldest: seconds since the epoch.
    """
    for state in directory.glob(f"*/{STATE}"):
        if state.stat().st_mtime < oldest:
            shutil.rmtree(state.parent, ignore_errors=True)
