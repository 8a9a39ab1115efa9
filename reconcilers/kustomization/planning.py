"""Decides how a Kustomization is built and what the build depends on, reading no manifest.

::

    PathNotFound    there is no such directory in the source
"""

from __future__ import annotations

import hashlib
import posixpath
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

import api
from kube import manifests
from reconcilers.kustomization import closure, generate, store
from reconcilers.kustomization.manifest import BuildError
from sources.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.kustomize import KustomizationSpec
    from reconcilers.kustomization.keys import Keys
    from reconcilers.kustomization.manifest import Finish
    from reconcilers.kustomization.variables import Variables
    from sources.tree import Tree


class PathNotFound(Exception):  # noqa: N818 - says what is wrong
    """``spec.path`` names no directory of the source; the message is fit for a condition."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to build."""

    name: str
    """Of the build in the store: unique in the cluster."""
    tree: Tree
    spec: KustomizationSpec
    finish: Finish
    variables: Variables | None = None
    """What ``postBuild`` substitutes; None where it does not."""
    keys: Keys | None = None
    """What opens encrypted files and objects; None where nothing is decrypted."""

    @property
    def is_private(self) -> bool:
        """Whether what Secrets hold may be in the result, so that it must not reach the disk."""
        has_secret = self.variables is not None and self.variables.is_secret
        return has_secret or self.keys is not None

    @property
    def treatment(self) -> tuple[object, ...]:
        """What is done to objects beyond kustomize, and with which keys and values: for keys."""
        variables, keys = self.variables, self.keys
        return (variables.identity if variables else None, keys.digest if keys else None)

    @property
    def steps(self) -> tuple[bool, ...]:
        """Which of the steps beyond kustomize there are."""
        return (self.variables is not None, self.keys is not None)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one request is built."""

    root: str
    """The directory to build, relative to the source's root."""
    key: str
    """Changes whenever an input of the build does."""
    scope: str
    """Changes whenever something that goes into every object does."""
    document: dict[str, Any]
    """The kustomization file to build with."""
    file: str
    """Where that file belongs."""
    manifests: tuple[Entry, ...]
    """The files a generated kustomization lists; empty for the source's own kustomization."""
    closure: closure.Closure
    is_plain: bool
    """Whether kustomize may be left out if every file turns out to be exact."""


def plan(request: Request, kustomize_version: str) -> Plan:
    """Plan a build. Blocking: reads the kustomization files.

    Raises:
        PathNotFound: there is no such directory.
        BuildError: a kustomization file cannot be read, or refers to something outside.
    """
    index = _index(request.tree)
    ids, paths = index.ids, index.paths
    root, below = _find_root(request.spec.path, index)
    own = generate.file_in(root, paths)
    listed = [] if own else generate.resources(below, root)
    document = _read(request.tree, own) if own else generate.generated(listed)
    document = generate.override(
        document,
        request.spec,
        exists=lambda path: posixpath.normpath(posixpath.join(root, path)) in index.directories,
    )
    walk = closure.Walk(paths, request.tree.read, index.directories)
    walk.follow(root, document)
    if request.keys is not None and walk.closure.crowded:
        place = walk.closure.crowded[0]
        raise BuildError(f"error decrypting sources: found multiple kustomization files in {place}")
    listed_files = [posixpath.join(root, path) for path in listed]
    scope = hash_of(api.__version__, store.FORMAT, *request.finish.parts(), *request.steps)
    inputs = _inputs(request.tree, walk.closure, ids)
    return Plan(
        root=root,
        key=hash_of(scope, kustomize_version, root, document, *inputs, *request.treatment),
        scope=scope,
        document=document,
        file=own or posixpath.join(root, generate.FILE_NAMES[0]),
        manifests=tuple(Entry(path, ids[path], 0) for path in listed_files if path in ids),
        closure=walk.closure,
        is_plain=not own
        and not generate.changes_build(request.spec)
        and all(path in ids for path in listed_files),
    )


def hash_of(*parts: object) -> str:
    """Return a hex digest of values of any JSON-like type."""
    return hashlib.blake2b(
        msgspec.msgpack.encode(parts, order="sorted"), digest_size=16
    ).hexdigest()


@dataclass(frozen=True, slots=True)
class _Index:
    """The files of a tree, as every build from it looks them up."""

    entries: Sequence[Entry]
    ids: dict[str, bytes]
    paths: frozenset[str]
    directories: frozenset[str]


_INDEXES: Final[weakref.WeakKeyDictionary[Tree, _Index]] = weakref.WeakKeyDictionary()
"""Of the trees that somebody holds: hundreds of Kustomizations are built from one of them."""


def _index(tree: Tree) -> _Index:
    found = _INDEXES.get(tree)
    if found is None:
        entries = tree.entries()
        ids = {entry.path: entry.id for entry in entries}
        paths = frozenset(ids)
        found = _INDEXES[tree] = _Index(entries, ids, paths, closure.directories_of(paths))
    return found


def _find_root(path: str, index: _Index) -> tuple[str, list[Entry]]:
    try:
        root = generate.normal_path(path)
    except ValueError as err:
        raise PathNotFound(str(err)) from err
    start = f"{root}/"
    below = [entry for entry in index.entries if not root or entry.path.startswith(start)]
    if root and not below:
        raise PathNotFound(f"kustomization path not found: stat {path}: no such file or directory")
    return root, below


def _read(tree: Tree, path: str) -> dict[str, Any]:
    """Read the source's own kustomization file as leniently as Flux does."""
    try:
        documents = list(manifests.load_all(tree.read(path)))
    except manifests.ManifestError as err:
        raise BuildError(f"failed to decode kustomization from {path}: {err}") from err
    document = documents[0] if documents else {}
    if document is None:
        document = {}
    if len(documents) > 1 or not isinstance(document, dict):
        raise BuildError(f"failed to decode kustomization from {path}: it is not one mapping")
    return generate.known_fields(document)


def _inputs(tree: Tree, found: closure.Closure, ids: Mapping[str, bytes]) -> list[object]:
    """Return what the content of everything that is read is known by."""
    if found.is_whole:
        return [tree.id]
    files = [(path, ids[path]) for path in sorted(found.files)]
    return [files, sorted(found.missing)]
