"""Commits by their id, out of the daemon's own Git stores where those are on this machine."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

from dulwich.errors import ChecksumMismatch, NotGitRepository
from dulwich.object_store import DiskObjectStore
from dulwich.objects import Commit as GitCommit
from dulwich.objects import ObjectID

from inspection.trace import Commit
from runtime.clock import rfc3339

if TYPE_CHECKING:
    from pathlib import Path

_SHA: Final = re.compile(r"[0-9a-f]{40}")
_UNREADABLE: Final = (KeyError, OSError, ValueError, ChecksumMismatch, NotGitRepository)


def find(data_dir: Path, sha: str) -> Commit | None:
    """Return a commit that the daemon fetched. Blocking: opens its stores.

    Args:
        data_dir: of the daemon.
        sha: the commit, 40 hex digits; anything else is none.
    """
    if not _SHA.fullmatch(sha):
        return None
    for folder in sorted(data_dir.glob("git/*/objects-*")):
        found = _read(folder, sha)
        if found is not None:
            return found
    return None


def _read(folder: Path, sha: str) -> Commit | None:
    store = DiskObjectStore(str(folder))
    try:
        found = store[ObjectID(sha.encode())]
    except _UNREADABLE:
        return None
    finally:
        store.close()
    if not isinstance(found, GitCommit):
        return None
    when = dt.datetime.fromtimestamp(found.commit_time, dt.UTC)
    return Commit(
        sha=sha,
        author=found.author.decode("utf-8", "replace"),
        time=rfc3339(when),
        subject=found.message.decode("utf-8", "replace").partition("\n")[0],
    )
