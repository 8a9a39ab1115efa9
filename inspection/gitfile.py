"""Which file of a source declares an object: what to change in Git instead of in the cluster."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from kube import manifests
from sources import archive

if TYPE_CHECKING:
    from pathlib import Path

    from inspection.flux import FluxObject
    from kube.objects import ObjectId

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_MOST_BYTES: Final = 1 << 20


def find(
    data_dir: Path, scratch: Path, applier: FluxObject, source: FluxObject, obj: ObjectId
) -> tuple[str, ...]:
    """Return the files that declare an object, from the daemon's own copy of the artifact.

    What a file generates or a patch renames is not found; then nothing is. Blocking.

    Args:
        data_dir: of the daemon.
        scratch: a directory for the unpacked content.
        applier: who applies the object.
        source: where its content is from.
        obj: the object.
    """
    path = str((source.status.get("artifact") or {}).get("path") or "")
    file = data_dir / "artifacts" / source.cluster / path
    if not path or not file.is_file():
        return ()
    tree = archive.ArchiveTree(file, scratch)
    folder = posixpath.normpath(applier.path or ".").strip("/")
    below = "" if folder == "." else folder
    try:
        names = [entry.path for entry in tree.entries() if _is_below(entry.path, below)]
        return tuple(name for name in names if _declares(tree.read(name), obj))
    except OSError:
        return ()


def _is_below(path: str, folder: str) -> bool:
    is_inside = not folder or path == folder or path.startswith(f"{folder}/")
    return is_inside and path.endswith(_SUFFIXES)


def _declares(content: bytes, obj: ObjectId) -> bool:
    """Tell whether a file has a document with the object's kind and name."""
    if len(content) > _MOST_BYTES or obj.name.encode() not in content:
        return False
    try:
        found = list(manifests.load_all(content))
    except manifests.ManifestError:
        return False
    return any(
        isinstance(each, dict)
        and each.get("kind") == obj.kind
        and isinstance(each.get("metadata"), dict)
        and each["metadata"].get("name") == obj.name
        for each in found
    )
