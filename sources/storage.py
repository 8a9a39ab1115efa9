"""The artifact store: files in Flux's layout, found again, verified, retained and removed.

``<root>/<kind>/<namespace>/<name>/<file>``, written beside and renamed, so a crash leaves either
the whole file or none. Each cluster has a store of its own: two clusters may hold objects of the
same name.

::

    ArtifactError(OSError)
    ├── MissingError     the file of an artifact is not there
    └── CorruptError     it is there with another digest; it was removed
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from api.artifact import Artifact
from runtime import clock as clocks
from sources import archive, fallback, segments
from sources import artifact as artifacts
from sources import tree as trees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from runtime.clock import Clock
    from sources.archive import ArchiveTree
    from sources.segments import Written
    from sources.tree import Tree

RETENTION_RECORDS = 2
"""Files of one object that outlive a collection, the current one included, as in Flux."""
ARCHIVES = 16
"""Files kept unpacked at most, the last used ones; each costs its size on disk and some 400 bytes
of memory for a file in it."""
RETENTION_TTL_S = 60.0
"""Seconds for which a replaced file stays, for consumers that are still fetching it."""
_CHUNK = 1024 * 1024


class ArtifactError(OSError):
    """A stored artifact that cannot be used."""


class MissingError(ArtifactError):
    """The file is not there."""


class CorruptError(ArtifactError):
    """The file's digest is not the one announced; the file was removed."""


class Owner(NamedTuple):
    """The object an artifact belongs to."""

    kind: str
    namespace: str
    name: str

    @property
    def folder(self) -> str:
        """Its folder below the root."""
        parts = (self.kind.lower(), self.namespace, self.name)
        return "/".join(trees.check_component(part) for part in parts)


class _Fingerprint(NamedTuple):
    size: int
    modified_ns: int
    inode: int


class Storage:
    """The artifacts of one cluster.

    Every method but `url`, `open` and `attach` blocks on the disk and is meant for a thread; calls
    for the same owner must not overlap, which the work queue guarantees.

    Args:
        root: the directory that holds the artifacts; made when it is first needed.
        base_url: where the file server offers ``root``; ``http://`` is assumed without a scheme.
        clock: stamps artifacts and judges their age.
        limit_bytes: what the files of a packed tree may have in all; None for no limit.
    """

    def __init__(
        self, root: Path, base_url: str, clock: Clock, *, limit_bytes: int | None = None
    ) -> None:
        self.root = root
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._base = base_url if "://" in base_url else f"http://{base_url}"
        self._verified: dict[str, tuple[str, _Fingerprint]] = {}
        self._trees: dict[str, Tree] = {}
        self._archives: dict[tuple[str, str], ArchiveTree] = {}

    def url(self, path: str) -> str:
        """Return the address of a stored file, given its path below the root."""
        return f"{self._base.rstrip('/')}/{path}"

    def put(
        self,
        owner: Owner,
        filename: str,
        revision: str,
        tree: Tree,
        previous: Artifact | None = None,
        *,
        is_lasting: bool = True,
    ) -> Artifact:
        """Pack a tree and store it.

        Args:
            owner: the object it belongs to.
            filename: the file's name, such as ``<sha>.tar.gz``.
            revision: what it is a copy of.
            tree: the content.
            previous: the artifact of another revision, of which most is copied where both agree;
                it changes nothing but the time this takes.
            is_lasting: whether the tree also serves `open` from now on.

        Raises:
            OSError: the disk refused; nothing half-written is left.
        """

        def pack(file: BinaryIO) -> Written:
            with self._whole(previous) as old:
                return artifacts.write(tree, file, old, limit_bytes=self._limit_bytes)

        artifact = self._write(owner, filename, revision, pack)
        if is_lasting:
            self._trees[artifact.path] = tree
        else:
            self._trees.pop(artifact.path, None)
        return artifact

    def put_file(self, owner: Owner, filename: str, revision: str, content: BinaryIO) -> Artifact:
        """Store a file as it is.

        Args:
            owner: the object it belongs to.
            filename: the file's name.
            revision: what it is a copy of.
            content: what to copy, from where it stands to its end.

        Raises:
            OSError: the disk refused; nothing half-written is left.
        """

        def copy(file: BinaryIO) -> Written:
            digest, size = hashlib.sha256(), 0
            while part := content.read(_CHUNK):
                digest.update(part)
                size += file.write(part)
            return segments.Written(f"sha256:{digest.hexdigest()}", size)

        artifact = self._write(owner, filename, revision, copy)
        self._trees.pop(artifact.path, None)
        return artifact

    def link(self, artifact: Artifact, name: str) -> str:
        """Let a name beside an artifact lead to it, as Flux's ``latest.tar.gz``; return its URL.

        Raises:
            OSError: the disk refused.
        """
        target = self._locate(artifact)
        link = target.parent / trees.check_component(name)
        temporary = link.with_name(f".linking-{name}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target.name)
        temporary.replace(link)
        return self.url(str(PurePosixPath(artifact.path).with_name(name)))

    def verify(self, artifact: Artifact) -> None:
        """Check that an artifact's file is there and whole.

        A file is hashed once for each start of the daemon and again whenever it was touched.

        Raises:
            MissingError: there is no such file.
            CorruptError: the digest is empty or another one; the file has been removed.
        """
        target = self._locate(artifact)
        try:
            seen = (artifact.digest, _fingerprint(target))
            if self._verified.get(artifact.path) == seen:
                return
            found = _digest(target)
        except OSError as err:
            self._forget(artifact.path)
            raise MissingError(f"artifact {artifact.path} is not in storage") from err
        if found != artifact.digest:
            self._forget(artifact.path)
            target.unlink(missing_ok=True)
            raise CorruptError(
                f"computed digest '{found}' doesn't match the artifact's '{artifact.digest}'"
            )
        self._verified[artifact.path] = seen

    def file(self, artifact: Artifact) -> Path:
        """Return where an artifact's file lies, once it is checked as by `verify`.

        Raises:
            MissingError: there is no such file.
            CorruptError: the digest is empty or another one; the file has been removed.
        """
        self.verify(artifact)
        return self._locate(artifact)

    def is_attached(self, artifact: Artifact) -> bool:
        """Say whether `open` has something better than the file."""
        return artifact.path in self._trees

    def attach(self, artifact: Artifact, tree: Tree) -> None:
        """Let `open` answer with this tree, which must show what the artifact's file holds."""
        self._trees[artifact.path] = tree

    def open(self, artifact: Artifact) -> Tree:
        """Return an artifact's content: the attached tree, else its file.

        The file is not touched before the tree is asked for something, which then may raise
        `OSError`.
        """
        packed = self._archive(artifact)
        attached = self._trees.get(artifact.path)
        return packed if attached is None else fallback.FallbackTree(attached, packed)

    def is_own(self, artifact: Artifact) -> bool:
        """Say whether an artifact is announced to be here, whether or not its file still is."""
        return artifact.url == self.url(artifact.path)

    def holds(self, artifact: Artifact) -> bool:
        """Say whether an artifact's file is here and whole; one that is another stays. Blocks."""
        try:
            target = self._locate(artifact)
            seen = (artifact.digest, _fingerprint(target))
            if self._verified.get(artifact.path) != seen and _digest(target) != artifact.digest:
                return False
        except OSError:
            return False
        self._verified[artifact.path] = seen
        return True

    def collect(self, owner: Owner, current: Artifact) -> int:
        """Remove an object's old files: beyond the newest two, or replaced for over a minute.

        Returns:
            How many were removed; the current one never is.
        """
        folder = self.root / owner.folder
        keep = PurePosixPath(current.path).name
        others = sorted(
            (path for path in folder.glob("*") if path.name != keep and _is_own_file(path)),
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        )
        oldest = self._clock.now().timestamp() - RETENTION_TTL_S
        removed = 0
        for index, path in enumerate(others, start=1):
            if index >= RETENTION_RECORDS or path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
                self._forget(f"{owner.folder}/{path.name}")
                removed += 1
        return removed

    def remove(self, owner: Owner) -> None:
        """Remove everything stored for an object.

        Raises:
            OSError: the disk refused.
        """
        folder = self.root / owner.folder
        for path in [*self._verified, *self._trees]:
            if path.startswith(f"{owner.folder}/"):
                self._forget(path)
        if folder.exists():
            shutil.rmtree(folder)

    def _write(
        self, owner: Owner, filename: str, revision: str, write: Callable[[BinaryIO], Written]
    ) -> Artifact:
        path = f"{owner.folder}/{trees.check_component(filename)}"
        target = self.root / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".writing-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                written = write(file)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._verified[path] = (written.digest, _fingerprint(target))
        return Artifact(
            digest=written.digest,
            path=path,
            url=self.url(path),
            revision=revision,
            last_update_time=clocks.rfc3339(self._clock.now()),
            size=written.size,
        )

    @contextmanager
    def _whole(self, artifact: Artifact | None) -> Iterator[BinaryIO | None]:
        """Open an artifact's file if it is known to be what was announced."""
        if artifact is None or artifact.path not in self._verified:
            yield None
            return
        try:
            self.verify(artifact)
            file = self._locate(artifact).open("rb")
        except OSError:
            yield None
            return
        with file:
            yield file

    def _locate(self, artifact: Artifact) -> Path:
        try:
            return self.root / trees.check_path(artifact.path)
        except trees.UnsafePathError as err:
            raise MissingError(str(err)) from err

    def _archive(self, artifact: Artifact) -> ArchiveTree:
        """Return the one tree of an artifact's file, unpacked for all who read it."""
        key = (artifact.path, artifact.digest)
        tree = self._archives.pop(key, None)
        if tree is None:
            tree = archive.ArchiveTree(self._locate(artifact), self.root)
        self._archives[key] = tree
        for oldest in list(self._archives)[:-ARCHIVES]:  # other threads change it too
            self._archives.pop(oldest, None)
        return tree

    def _forget(self, path: str) -> None:
        self._verified.pop(path, None)
        self._trees.pop(path, None)
        for key in [key for key in list(self._archives) if key[0] == path]:
            self._archives.pop(key, None)


def _is_own_file(path: Path) -> bool:
    """Tell a stored file from a link to one."""
    return path.is_file() and not path.is_symlink()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _fingerprint(path: Path) -> _Fingerprint:
    stat = path.stat()
    return _Fingerprint(stat.st_size, stat.st_mtime_ns, stat.st_ino)
