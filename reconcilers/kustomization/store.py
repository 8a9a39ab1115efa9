"""Builds on disk, and an index of them in memory: what a Kustomization wants, without its dicts.

One file per Kustomization holds the canonical JSON of every object, one a line, then the index and
a fixed footer. It is written whole under another name and renamed, so a reader sees the old build
or the new one. The file is a cache: a missing, torn or foreign one only costs a build. Its mode is
0600 since Secrets are among the objects. What Git holds only encrypted, and what comes out of a
Secret of the cluster, is never written: such a *private* build lives compressed in memory, and a
restart builds it again.

A build consists of *units*, the pieces whose objects depend on nothing but the piece's content: a
file of a plain directory, or one document of kustomize's output. A unit that the previous build has
under the same key is copied as bytes; only the others have been parsed.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self, TypeAlias

import msgspec

from kube import desired as kube_desired
from kube.desired import Desired, Flag
from kube.objects import ObjectId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FORMAT: Final = 2
"""Raised whenever a build of the same input would come out differently; part of every build key."""
_FOOTER: Final = struct.Struct(">Q16s8s")
_MAGIC: Final = b"gitopsd\n"
_Row = tuple[str, str, str, str, str, bytes, int, str, int, tuple[str, ...]]


class StaleBuildError(Exception):
    """The file is not what the index describes; build again."""


class _Index(msgspec.Struct, array_like=True):
    """The index as it is stored: rows in the order of the lines above it."""

    key: str
    scope: str
    digest: str
    units: list[tuple[bytes, list[_Row]]]


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of a build: its content's key, and its objects unless the last build has them."""

    key: bytes
    objects: tuple[tuple[Desired, bytes], ...] | None = None
    """Each object with its canonical JSON; None to copy the unit from the previous build."""


Known: TypeAlias = "Mapping[bytes, tuple[Desired, ...]]"
"""Units of the last build that may be copied."""


@dataclass(frozen=True, slots=True)
class Build:
    """What one Kustomization wants."""

    path: Path
    """Its file, unless it is private."""
    key: str
    """Changes exactly when an input of the build does."""
    scope: str
    """Changes when units of an earlier build may not be copied: labels, common metadata, engine."""
    digest: str
    """``sha256:<hex>`` of all objects' canonical JSON, for ``status.history``."""
    units: dict[bytes, tuple[Desired, ...]] = field(repr=False)
    private: bytes | None = field(default=None, repr=False)
    """The compressed lines of a private build, which has no file."""

    @property
    def desired(self) -> list[Desired]:
        """Every object, in the order of the build."""
        return [item for unit in self.units.values() for item in unit]


class Reader:
    """Reads single objects out of a build's file; a `kube.desired.ManifestReader`.

    The file is mapped, so reading is no system call and costs no memory of our own; a private build
    is unpacked for as long as this is open. A build that is replaced meanwhile stays readable here.
    Opening blocks on the disk; use as a context manager.

    Raises:
        StaleBuildError: the file was removed.
    """

    def __init__(self, build: Build) -> None:
        self._name = build.path.name
        self._body = _map(build.path) if build.private is None else zlib.decompress(build.private)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._body, mmap.mmap):
            self._body.close()

    def read(self, desired: Desired) -> bytes:
        """Return the canonical JSON of one object.

        Raises:
            StaleBuildError: the file is not the one that was written.
        """
        body = self._body[desired.offset : desired.offset + desired.length]
        if kube_desired.digest(body) != desired.digest:
            raise StaleBuildError(f"{self._name}: content changed")
        return body


class Unopened:
    """Stands for the reader of a build of which nothing should have to be read."""

    def read(self, desired: Desired) -> bytes:
        """Refuse.

        Raises:
            StaleBuildError: always.
        """
        raise StaleBuildError(f"{desired.id} was not to be read")


UNOPENED: Final = Unopened()


class Store:
    """The builds of one cluster.

    Memory: half a kilobyte per object, and a fifth or so of the manifests of private builds. Disk:
    the size of all other manifests. Both end with `drop`. Every
    method blocks on the disk and is meant for a thread; calls for one name must not overlap.

    Args:
        directory: where the files lie; created when the first build is saved.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._builds: dict[str, Build] = {}

    def load(self, name: str) -> Build | None:
        """Return the last build of that name, from memory or, after a restart, from its file."""
        if name not in self._builds:
            found = _read(self._directory / f"{name}.build")
            if found is None:
                return None
            self._builds[name] = found
        return self._builds[name]

    def save(
        self,
        name: str,
        key: str,
        scope: str,
        units: Iterable[Unit],
        *,
        is_private: bool = False,
    ) -> Build:
        """Write a build and make it the current one. Blocking: run it in a thread when it is large.

        Args:
            name: of the file, unique in the cluster.
            key: see `Build.key`.
            scope: see `Build.scope`.
            units: in build order, each key once.
            is_private: keep it in memory alone, and remove the file of an earlier build.

        Raises:
            StaleBuildError: a unit was to be copied from a file that is not there any more.
            OSError: the file system refused.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{name}.build"
        previous = self._builds.get(name)
        writer = _Writer(path, previous if previous and previous.scope == scope else None)
        build = writer.write(key, scope, units, is_private=is_private)
        self._builds[name] = build
        return build

    def drop(self, name: str) -> None:
        """Forget a build and remove its file."""
        self._builds.pop(name, None)
        (self._directory / f"{name}.build").unlink(missing_ok=True)


class _Writer:
    """Writes one build file."""

    def __init__(self, path: Path, previous: Build | None) -> None:
        self._path, self._previous = path, previous
        self._old = _content(previous) if previous else b""
        self._lines: list[bytes] = []
        self._units: dict[bytes, tuple[Desired, ...]] = {}
        self._offset = 0

    def write(self, key: str, scope: str, units: Iterable[Unit], *, is_private: bool) -> Build:
        """Write everything and rename it into place; a private build only into memory."""
        for unit in units:
            self._units[unit.key] = tuple(self._place(unit))
        body = b"".join(self._lines)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if is_private:
            self._path.unlink(missing_ok=True)
            return Build(self._path, key, scope, digest, self._units, zlib.compress(body))
        rows = [(unit, [_row(item) for item in items]) for unit, items in self._units.items()]
        index = msgspec.msgpack.encode(_Index(key, scope, digest, rows))
        footer = _FOOTER.pack(len(body), kube_desired.digest(index), _MAGIC)
        _replace(self._path, (body, index, footer))
        return Build(self._path, key, scope, digest, self._units)

    def _place(self, unit: Unit) -> Iterator[Desired]:
        for item, body in unit.objects if unit.objects is not None else self._copied(unit.key):
            moved = item.offset != self._offset or item.length != len(body)
            yield replace(item, offset=self._offset, length=len(body)) if moved else item
            self._lines += (body, b"\n")
            self._offset += len(body) + 1

    def _copied(self, key: bytes) -> Iterator[tuple[Desired, bytes]]:
        for item in self._previous.units.get(key, ()) if self._previous else ():
            body = self._old[item.offset : item.offset + item.length]
            if kube_desired.digest(body) != item.digest:
                raise StaleBuildError(f"{self._path.name}: content changed")
            yield item, body


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as err:
        raise StaleBuildError(f"{path.name}: {err}") from err


def _content(build: Build) -> bytes:
    """Return all lines of a build; nothing where its file is lost."""
    if build.private is not None:
        return zlib.decompress(build.private)
    return build.path.read_bytes() if build.path.exists() else b""


def _replace(path: Path, parts: Iterable[bytes]) -> None:
    temporary = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        file.writelines(parts)
    temporary.replace(path)


def _row(item: Desired) -> _Row:
    return (
        *item.id,
        item.version,
        item.digest,
        int(item.flags),
        item.origin,
        item.length,
        item.unknown,
    )


def _read(path: Path) -> Build | None:
    """Read a build file; None where there is none that can be trusted."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _FOOTER.size))
            body_size, index_digest, magic = _FOOTER.unpack(file.read())
            file.seek(body_size)
            encoded = file.read(size - _FOOTER.size - body_size)
    except (OSError, struct.error, ValueError):
        return None
    if magic != _MAGIC or kube_desired.digest(encoded) != index_digest:
        return None
    index = msgspec.msgpack.decode(encoded, type=_Index)
    return Build(path, index.key, index.scope, index.digest, _restore(index))


def _restore(index: _Index) -> dict[bytes, tuple[Desired, ...]]:
    units: dict[bytes, tuple[Desired, ...]] = {}
    offset = 0
    for key, rows in index.units:
        items: list[Desired] = []
        for *names, version, digest, flags, origin, length, unknown in rows:
            items.append(
                Desired(
                    ObjectId(*names), version, digest, Flag(flags), origin, offset, length, unknown
                )
            )
            offset += length + 1
        units[key] = tuple(items)
    return units
