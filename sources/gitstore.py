"""The objects of one remote on disk, so that each fetch asks only for what is new.

::

    <directory>/state.json     the commits that are here completely, by the reference they came from
    <directory>/objects-<n>/   a plain Git object store; a compacted one takes the next number

A commit is recorded only when all of it is on disk, so whatever a crash leaves behind is either
unknown to the state, and swept when the store is opened, or whole. Reading that finds otherwise
raises `DamagedError`, upon which the owner resets the store and fetches again: nothing here is
precious. No history is kept; every commit counts as shallow.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
from dulwich.errors import ChecksumMismatch, FileFormatException, NotGitRepository
from dulwich.objects import Commit, ObjectID, parse_tree
from dulwich.pack import UnresolvedDeltas

from sources import gitpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dulwich.object_store import DiskObjectStore

MAX_HAVES = 16
"""Commits offered to the remote for negotiation, newest first."""
_MAX_PACKS = 40
"""Packs, one for each fetch, before looking something up in all of them gets slow."""
_GROWTH = 3
_SLACK_BYTES = 16 * 1024 * 1024
_CLOSE_BYTES = 4 * 1024 * 1024
_DAMAGE = (
    KeyError,
    ValueError,
    AssertionError,
    zlib.error,
    ChecksumMismatch,
    FileFormatException,
    NotGitRepository,
    UnresolvedDeltas,
)
MAX_FILES = 500_000
"""Files in one tree; a few hostile objects can describe billions."""
MAX_PATH = 4096
"""Characters in a path."""


class DamagedError(OSError):
    """The store lacks something it should have, or has it in pieces."""

    directory: Path | None = None
    """Where the store lies, if it was told."""


class TooLargeError(Exception):
    """A tree that is larger than anything sensible."""


class Reader(Protocol):
    """Something that reads a tree or commit for as long as it lives."""

    @property
    def root(self) -> str:
        """The id of what it reads."""
        ...


class CommitInfo(NamedTuple):
    """What the daemon needs to know of a commit."""

    sha: str
    tree: str
    subject: str
    """The first line of its message."""
    committed_s: int
    """Seconds since the epoch."""


class Compaction(NamedTuple):
    """What a compaction copies."""

    source: Path
    target: Path
    roots: tuple[str, ...]
    """Commits and trees, by id."""
    commits: dict[str, str]
    """The references that go on being known."""
    size: int
    """Bytes of all packs now."""


class State(msgspec.Struct):
    """What ``state.json`` holds."""

    url: str
    generation: int = 0
    """The number of the current objects directory."""
    commits: dict[str, str] = {}
    """Label of a reference to the commit it last meant; the newest last."""
    baseline_bytes: int = 0
    """Bytes of all packs after the first fetch or the last compaction."""


class Store:
    """One object store. Blocks; may be used from several threads.

    Args:
        directory: where it lies; made when it is missing.
        url: the remote, without credentials, for people who look around.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self._lock = threading.RLock()
        self._objects: DiskObjectStore | None = None
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._used: set[str] = set()
        self._url = url
        self._state = State(url=url)
        self._open()

    @property
    def objects_directory(self) -> Path:
        """The current object store."""
        return self.directory / f"objects-{self._state.generation}"

    def holds(self, sha: str) -> bool:
        """Say whether a commit is here completely."""
        with self._lock:
            return sha in self._state.commits.values()

    def contains(self, sha: str) -> bool:
        """Say whether an object is here, be it alone."""
        with self._reading() as objects:
            return ObjectID(sha.encode()) in objects

    def haves(self) -> list[str]:
        """Return the commits to offer in a negotiation."""
        with self._lock:
            return list(dict.fromkeys(reversed(self._state.commits.values())))[:MAX_HAVES]

    def spool(self) -> tuple[int, Path]:
        """Return a new temporary file's descriptor and path, for a pack to be received into."""
        descriptor, name = tempfile.mkstemp(dir=self.directory, prefix="receiving-")
        return descriptor, Path(name)

    def record(self, label: str, sha: str) -> CommitInfo:
        """Note that a commit has arrived completely, and return what it is.

        Args:
            label: names the reference that led to it; its former commit may be forgotten.
            sha: the commit.

        Raises:
            DamagedError: it has not arrived.
        """
        info = self.commit(sha)
        with self._lock:
            self._used.add(label)
            if self._state.commits.get(label) != sha:
                self._state.commits.pop(label, None)
                self._state.commits[label] = sha
                self._state.baseline_bytes = self._state.baseline_bytes or self.pack_bytes()
                self._save()
        return info

    def commit(self, sha: str) -> CommitInfo:
        """Return what is known of a commit.

        Raises:
            DamagedError: it is not here, or is no commit.
        """
        with self._reading() as objects:
            found = objects[ObjectID(sha.encode())]
            if not isinstance(found, Commit):
                raise DamagedError(f"{sha} is a {found.type_name.decode()}, not a commit")
            subject = found.message.decode("utf-8", "replace").partition("\n")[0]
            return CommitInfo(sha, found.tree.decode(), subject, found.commit_time)

    def walk(self, tree: str) -> list[tuple[str, int, bytes]]:
        """Return path, Git mode and object id (20 bytes) of everything in a tree but directories.

        The order is that of a lexical directory walk. Paths are as they are in Git, safe or not.

        Raises:
            DamagedError: a tree is missing or unreadable.
            TooLargeError: it has more than `MAX_FILES` files or longer paths than `MAX_PATH`.
        """
        with self._reading() as objects:
            return _walk(objects, tree.encode())

    def blob(self, sha: bytes) -> bytes:
        """Return a file's content, given its id in 20 bytes.

        Raises:
            DamagedError: it is missing or unreadable.
        """
        with self._reading() as objects:
            return objects.get_raw(ObjectID(sha.hex().encode()))[1]

    def raw(self, sha: str) -> bytes | None:
        """Return an object as it is in Git, of whatever type; None where it is not here.

        Raises:
            DamagedError: it is unreadable.
        """
        name = ObjectID(sha.encode())
        with self._reading() as objects:
            return objects.get_raw(name)[1] if name in objects else None

    def root_file(self, tree: str, name: str) -> bytes:
        """Return the content of a file at the root of a tree, empty where there is none.

        Raises:
            DamagedError: the tree or the file is missing or unreadable.
        """
        with self._reading() as objects:
            for entry, mode, sha in parse_tree(objects.get_raw(ObjectID(tree.encode()))[1], 20):
                if entry == name.encode() and mode & gitpack.KIND == gitpack.FILE:
                    return objects.get_raw(ObjectID(sha))[1]
            return b""

    def protect(self, reader: Reader) -> None:
        """Keep what ``reader`` reads through compactions, for as long as it lives."""
        with self._lock:
            self._readers.add(reader)

    def pack_bytes(self) -> int:
        """Return the size of all packs."""
        return sum(path.stat().st_size for path in self._packs())

    def plan_compaction(self) -> Compaction | None:
        """Return what to copy where, so that `adopt` can replace the present objects.

        Kept are the commits of references that were followed since the store was opened, and what
        living readers read. Nothing may be fetched between this and `adopt`.

        Returns:
            None where a compaction would not pay.
        """
        with self._lock:
            size, packs = self.pack_bytes(), len(list(self._packs()))
            limit = _GROWTH * self._state.baseline_bytes + _SLACK_BYTES
            if packs <= _MAX_PACKS and size <= limit:
                return None
            commits = {
                label: sha for label, sha in self._state.commits.items() if label in self._used
            }
            roots = {*commits.values(), *(reader.root for reader in self._readers)}
            target = self.directory / f"objects-{self._state.generation + 1}"
            return Compaction(self.objects_directory, target, tuple(sorted(roots)), commits, size)

    def adopt(self, compaction: Compaction) -> None:
        """Read from the compacted objects from now on, and remove the former ones."""
        with self._lock:
            self._close()
            self._state = State(self._url, self._state.generation + 1, compaction.commits)
            self._state.baseline_bytes = self.pack_bytes()
            self._save()
            self._sweep()

    def reset(self) -> None:
        """Forget everything; the next fetch starts from nothing."""
        with self._lock:
            self._close()
            self._state = State(url=self._url, generation=self._state.generation + 1)
            self._save()
            self._sweep()

    def close(self) -> None:
        """Give back files and memory; the store stays usable."""
        with self._lock:
            self._close()

    @contextmanager
    def _reading(self) -> Iterator[DiskObjectStore]:
        try:
            with self._lock, translating():
                if self._objects is None:
                    self._objects = gitpack.open_objects(self.objects_directory)
                yield self._objects
        except DamagedError as err:
            err.directory = self.directory
            raise

    def trim(self) -> None:
        """Unmap the packs of a large store: mapped pages count as the daemon's memory."""
        if self.pack_bytes() > _CLOSE_BYTES:
            self.close()

    def _open(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._state = msgspec.json.decode(self._state_path.read_bytes(), type=State)
        except (FileNotFoundError, msgspec.MsgspecError):
            self._save()
        self._sweep()
        os.utime(self.directory)

    def _sweep(self) -> None:
        """Remove what a crash or a compaction left behind."""
        keep = {self._state_path, self.objects_directory}
        for path in self.directory.iterdir():
            if path in keep:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for path in (self.objects_directory / "pack").glob("*"):
            whole = path.suffix == ".idx" or path.with_suffix(".idx").exists()
            if path.name.startswith("tmp") or path.suffix == ".lock" or not whole:
                path.unlink(missing_ok=True)

    @property
    def _state_path(self) -> Path:
        return self.directory / "state.json"

    def _save(self) -> None:
        temporary = self._state_path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(self._state))
        temporary.replace(self._state_path)

    def _packs(self) -> Iterator[Path]:
        return (self.objects_directory / "pack").glob("*.pack")

    def _close(self) -> None:
        if self._objects is not None:
            self._objects.close()
            self._objects = None


@contextmanager
def translating() -> Iterator[None]:
    """Turn everything dulwich raises about bad data into `DamagedError`."""
    try:
        yield
    except gitpack.LimitError:
        raise
    except _DAMAGE as err:
        raise DamagedError(f"{type(err).__name__}: {err}") from err


def _walk(objects: DiskObjectStore, root: bytes) -> list[tuple[str, int, bytes]]:
    found: list[tuple[str, int, bytes]] = []
    directories = 0
    # Deepest last: the end of the list is what comes next in the walk.
    pending = _children(objects, root, "")
    while pending:
        path, mode, sha = pending.pop()
        if mode & gitpack.KIND == gitpack.DIRECTORY:
            directories += 1
            pending += _children(objects, sha, f"{path}/")
        else:
            found.append((path, mode, bytes.fromhex(sha.decode())))
        if max(len(found), directories) > MAX_FILES or len(path) > MAX_PATH:
            raise TooLargeError(
                f"more than {MAX_FILES} files or directories, or a path over {MAX_PATH} characters"
            )
    return found


def _children(objects: DiskObjectStore, tree: bytes, prefix: str) -> list[tuple[str, int, bytes]]:
    """Return a directory's entries, the lexically last one first."""
    entries = sorted(parse_tree(objects.get_raw(ObjectID(tree))[1], 20), reverse=True)
    return [
        (prefix + name.decode("utf-8", "surrogateescape"), mode, sha) for name, mode, sha in entries
    ]
