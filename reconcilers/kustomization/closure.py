"""Which files a kustomization reads, found by following its references; and the jail around them.

kustomize itself would read any file of the machine that a kustomization names. So every reference
is looked at before it runs: one that is absolute or leaves the artifact fails the build, a remote
one is allowed or not by the settings. What is left is the exact set of files that the build depends
on, which is its cache key and all that is written out for it.

Field names are compared without regard to case, as the Go decoder inside kustomize does.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kube import manifests
from reconcilers.kustomization import generate
from reconcilers.kustomization.manifest import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_REMOTE: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://|git::|[\w.-]+@[\w.-]+:|[^/?]+\.[^/?]+/.*|.*[?&]ref=", re.IGNORECASE
)
"""References that kustomize would take for a repository or a URL, when there is no such path."""
_EITHER: Final = ("resources", "bases", "components")
_FILES: Final = ("crds", "configurations", "patchesStrategicMerge")
_PLUGINS: Final = ("generators", "transformers", "validators")
_WITH_PATH: Final = ("patches", "patchesJson6902", "replacements")
_GENERATORS: Final = ("configMapGenerator", "secretGenerator")
_PATH_KEYS: Final = frozenset({"path", "paths", "file", "files", "env", "envs", "crds"})


@dataclass(slots=True)
class Closure:
    """What a build reads."""

    files: set[str] = field(default_factory=set)
    """Files of the artifact."""
    missing: set[str] = field(default_factory=set)
    """Local references that lead nowhere; they belong to the key, since they may appear."""
    remote: set[str] = field(default_factory=set)
    """References to other hosts."""
    sealable: dict[str, str] = field(default_factory=dict)
    """Files that may be encrypted, since a generator or a patch reads them, each with the name that
    tells its format."""
    crowded: list[str] = field(default_factory=list)
    """Directories with more than one kustomization file."""
    is_whole: bool = False
    """Whether the references cannot all be told, so that the whole artifact counts."""
    is_unsure: bool = False
    """Whether there may be references that nobody looked at; kustomize then has to keep every
    kustomization inside its own directory."""


class Walk:
    """Follows the references of one kustomization.

    Args:
        paths: every file of the artifact.
        read: returns one file's content.
        directories: every directory of the artifact, where somebody knows them already.
    """

    def __init__(
        self,
        paths: frozenset[str],
        read: Callable[[str], bytes],
        directories: frozenset[str] | None = None,
    ) -> None:
        self._paths, self._read = paths, read
        self._directories = directories_of(paths) if directories is None else directories
        self._entered: set[str] = set()
        self.closure = Closure()

    def follow(self, directory: str, document: dict[str, Any]) -> None:
        """Add what a kustomization document of a directory reads, and what that reads in turn.

        Raises:
            BuildError: a reference leaves the artifact.
        """
        self._entered.add(directory)
        self._note_crowd(directory)
        for name, reference in _sealable(document):
            path = None if _is_inline(reference) else self._local(directory, reference)
            if path in self._paths:
                self.closure.sealable.setdefault(path, name)
        for reference in _all(document, _EITHER):
            self._either(directory, reference)
        for reference in _all(document, _FILES):
            self._file(directory, reference)
        for reference in _nested(document):
            self._file(directory, reference)
        for reference in _all(document, _PLUGINS):
            self._plugin(directory, reference)

    def _note_crowd(self, directory: str) -> None:
        files = [posixpath.join(directory, name) for name in generate.FILE_NAMES]
        if len(self._paths.intersection(files)) > 1:
            self.closure.crowded.append(directory or ".")

    def _either(self, directory: str, reference: str) -> None:
        """Add a reference to a file or to a directory with a kustomization."""
        path = self._local(directory, reference)
        if path is None:
            return
        if path in self._paths:
            self.closure.files.add(path)
        elif path in self._directories:
            self._enter(path)
        else:
            self.closure.missing.add(path)

    def _file(self, directory: str, reference: str) -> None:
        path = self._local(directory, reference)
        if path is None:
            return
        (self.closure.files if path in self._paths else self.closure.missing).add(path)

    def _plugin(self, directory: str, reference: str) -> None:
        """Add a transformer's or generator's configuration, whose references can be anywhere."""
        self.closure.is_whole = True
        if _is_inline(reference):
            self._check_plugin(directory, reference.encode())
            return
        self._either(directory, reference)
        path = self._local(directory, reference)
        if path in self._paths:
            self._check_plugin(posixpath.dirname(path), self._read(path))
        else:
            self.closure.is_unsure = True

    def _check_plugin(self, directory: str, text: bytes) -> None:
        for document in _documents(text):
            for reference in _path_values(document):
                self._local(directory, reference)

    def _enter(self, directory: str) -> None:
        if directory in self._entered:
            return
        self._entered.add(directory)
        path = generate.file_in(directory, self._paths)
        if path is None:
            self.closure.missing.add(posixpath.join(directory, generate.FILE_NAMES[0]))
            return
        self.closure.files.add(path)
        for document in _documents(self._read(path)):
            self.follow(directory, document)

    def _local(self, directory: str, reference: str) -> str | None:
        """Return the artifact path a reference leads to; None for inline text and other hosts.

        Raises:
            BuildError: it leaves the artifact.
        """
        if not reference or _is_inline(reference):
            return None
        path = posixpath.normpath(posixpath.join(directory, reference))
        is_remote = bool(_REMOTE.match(reference)) and not reference.startswith((".", "/"))
        is_outside = posixpath.isabs(path) or path == ".." or path.startswith("../")
        if is_outside or (is_remote and ".." in reference.split("/")):
            place = posixpath.join(directory, "kustomization")
            raise BuildError(
                f"kustomize build failed: '{reference}' in {place} leaves the source's root"
            )
        if is_remote and path not in self._paths and path not in self._directories:
            self.closure.remote.add(reference)
            self.closure.is_unsure = True
            return None
        return "" if path == "." else path


def _is_inline(reference: str) -> bool:
    """Whether a reference is no path but the content itself."""
    return "\n" in reference or reference.lstrip().startswith("{")


def _documents(text: bytes) -> Iterator[dict[str, Any]]:
    """Yield the mappings of a file; what cannot be read is left to kustomize to report."""
    try:
        yield from (document for document in manifests.load_all(text) if isinstance(document, dict))
    except manifests.ManifestError:
        return


def directories_of(paths: Iterable[str]) -> frozenset[str]:
    """Return every directory that holds one of the files, at any depth; the root is ``""``."""
    return frozenset(directory for path in paths for directory in _parents(path))


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")[:-1]
    yield ""
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])


def _values(document: dict[str, Any], name: str) -> Iterator[Any]:
    """Yield the values of a field, however its name is cased."""
    folded = name.lower()
    yield from (value for key, value in document.items() if str(key).lower() == folded)


def _all(document: dict[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        for value in _values(document, name):
            yield from _strings(value)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))


def _nested(document: dict[str, Any]) -> Iterator[str]:
    """Yield the file references inside patches, replacements, generators and the schema."""
    for name in (*_WITH_PATH, "openapi"):
        for item in _dicts(document, name):
            yield from _all(item, ("path",))
    for name in _GENERATORS:
        for item in _dicts(document, name):
            yield from _all(item, ("env", "envs"))
            yield from (text.rpartition("=")[2] for text in _all(item, ("files",)))


def _sealable(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the files that are decrypted before a build, each behind the name it is known by."""
    for item in _dicts(document, "secretGenerator"):
        yield from ((path, path) for path in _all(item, ("env", "envs")))
        for text in _all(item, ("files",)):
            name, _, path = text.rpartition("=")
            yield name or path, path
    for field_ in ("patches", "patchesJson6902"):
        for item in _dicts(document, field_):
            yield from ((path, path) for path in _all(item, ("path",)))
    yield from ((path, path) for path in _all(document, ("patchesStrategicMerge",)))


def _dicts(document: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    for value in _values(document, name):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield item


def _path_values(value: object) -> Iterator[str]:
    """Yield whatever a plugin's configuration may use as a path, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _path_values(item)
    elif isinstance(value, dict):
        for key, member in value.items():
            if str(key).lower() in _PATH_KEYS:
                yield from (text.rpartition("=")[2] for text in _strings(member))
            yield from _path_values(member)
