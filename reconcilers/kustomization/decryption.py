"""Decrypts for a build: the files that generators and patches read, and the objects that come out.

Nothing that is opened here reaches a lasting file: files go into the private folder in which
kustomize runs, objects stay in memory.
"""

from __future__ import annotations

import base64
import posixpath
from typing import TYPE_CHECKING

import orjson

from kube import manifests
from reconcilers.kustomization import manifest, sealed, substitution
from reconcilers.kustomization.manifest import BuildError
from reconcilers.kustomization.sops import OpenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kube.objects import JsonObject
    from reconcilers.kustomization.keys import Keys
    from reconcilers.kustomization.sealed import Sealed
    from reconcilers.kustomization.sops import Sops
    from sources.tree import Tree


def sealed_files(tree: Tree, files: Mapping[str, str]) -> dict[str, Sealed]:
    """Return which files are encrypted. Blocking: reads them.

    Args:
        tree: the artifact.
        files: paths of generator inputs and patches, each with the name that tells its format.

    Raises:
        BuildError: one is too large.
    """
    found = {}
    for path, name in sorted(files.items()):
        content = tree.read(path)
        text = sealed.of_text(content, posixpath.basename(name))
        if text is None:
            continue
        if len(content) > sealed.MAX_FILE:
            size = f"cannot decrypt file with size ({len(content)} bytes) exceeding limit"
            raise BuildError(f"error decrypting sources: {path}: {size} ({sealed.MAX_FILE})")
        found[path] = text
    return found


async def open_files(program: Sops, keys: Keys, files: Mapping[str, Sealed]) -> dict[str, bytes]:
    """Return the content of encrypted files.

    Raises:
        BuildError: one cannot be opened.
        TransientError: a key cannot be imported.
    """
    contents = await program.open(keys, list(files.values()))
    found = {}
    for path, content in zip(files, contents, strict=True):
        if isinstance(content, OpenError):
            raise BuildError(f"error decrypting sources: {path}: {content}") from content
        found[path] = content
    return found


def sealed_objects(texts: Iterable[tuple[bytes, bytes]]) -> dict[bytes, JsonObject]:
    """Return the objects that have something to open. Blocking: parses them.

    Args:
        texts: documents of kustomize's output, each with its key.
    """
    found = {}
    for key, text in texts:
        try:
            obj = manifests.load(text)
        except manifests.ManifestError:
            continue  # reported with its place where all documents are read
        if is_sealed(obj):
            found[key] = obj
    return found


def is_sealed(obj: object) -> bool:
    """Whether an object has something to open, and does not ask to be left alone."""
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        return False
    return bool(sealed.of_object(obj) or sealed.of_values(obj)) and not sealed.is_kept(obj)


async def open_objects(
    program: Sops, keys: Keys, objects: Mapping[bytes, JsonObject]
) -> dict[bytes, JsonObject]:
    """Return encrypted objects opened, whole ones first and then the values of Secrets.

    Raises:
        BuildError: one cannot be opened.
        TransientError: a key cannot be imported.
    """
    opened = dict(objects)
    whole = {key: text for key, obj in objects.items() if (text := sealed.of_object(obj))}
    contents = await program.open(keys, list(whole.values()))
    for key, content in zip(whole, contents, strict=True):
        opened[key] = orjson.loads(_content(objects[key], content))
    values = [
        (key, name, text)
        for key, obj in opened.items()
        for name, text in (sealed.of_values(obj) if key not in whole else {}).items()
    ]
    contents = await program.open(keys, [text for _, _, text in values])
    for (key, name, _), content in zip(values, contents, strict=True):
        value = base64.b64encode(_content(objects[key], content, name)).decode()
        obj = opened[key]
        opened[key] = obj | {"data": obj["data"] | {name: value}}
    return opened


def _content(obj: JsonObject, content: bytes | OpenError, key: str = "") -> bytes:
    if isinstance(content, OpenError):
        manifest.check_identity(obj, "the build")
        where = f"Secret field '{key}': " if key else ""
        name = substitution.name_of(obj)
        raise BuildError(f"decryption failed for '{name}': {where}{content}") from content
    return content
