"""Values of charts: read from files and merged into what the packed chart has instead."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from kube import manifests
from sources.helm.errors import ChartError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kube.objects import JsonObject


def read(content: bytes, name: str) -> JsonObject:
    """Return the values in a file; of several documents, those of the later win.

    Args:
        content: YAML.
        name: of the file, for messages.

    Raises:
        ChartError: it is no YAML, or holds something else than values.
    """
    merged: JsonObject = {}
    try:
        for document in manifests.load_all(content):
            if not isinstance(document, dict) and document is not None:
                raise ChartError(f"cannot load {name}: it is not a mapping of values")
            merged = merge(merged, document or {})
    except manifests.ManifestError as err:
        raise ChartError(f"cannot load {name}: {err}") from err
    return merged


def merge(base: JsonObject, over: JsonObject) -> JsonObject:
    """Return values in which those of ``over`` win; neither is changed."""
    merged: dict[str, Any] = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def merge_files(
    paths: Sequence[str], read_file: Callable[[str], bytes | None], *, ignores_missing: bool
) -> tuple[bytes, tuple[str, ...]]:
    """Return the text of merged values files, and which of them there were.

    Args:
        paths: in the order in which they are merged.
        read_file: returns a file's content by its normalised path, None where there is none.
        ignores_missing: whether files that are not there are left out.

    Raises:
        ChartError: a file is missing, or cannot be read.
    """
    merged: JsonObject = {}
    found = []
    for path in paths:
        content = read_file(normalise(path))
        if content is None and not ignores_missing:
            raise ChartError(f"no values file found at path '{path}'")
        if content is not None:
            try:
                merged = merge(merged, read(content, path))
            except ChartError as err:
                raise ChartError(f"unmarshaling values from '{path}' failed: {err}") from err
            found.append(path)
    return manifests.dump(in_order(merged)) if merged else b"", tuple(found)


def normalise(path: str) -> str:
    """Return a path below the root of a source, out of which it cannot lead."""
    return posixpath.normpath(f"/{path}").lstrip("/")


def in_order(value: Any) -> Any:  # noqa: ANN401 - a tree of JSON
    """Return a tree with the keys of each mapping in order, as Go writes them."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(each) for each in value] if isinstance(value, (list, tuple)) else value
