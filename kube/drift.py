"""Whether an apply would change an object: the answer of a dry run against the live object.

Both sides come from the server, so plain equality is enough. Who owns a field is no difference;
what the server itself writes (the rest of the metadata, the status) is none either. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kube.objects import JsonObject

_SERVERS: Final = frozenset({"metadata", "status"})


def differs(wanted: JsonObject, live: JsonObject) -> bool:
    """Compare as Flux does: labels, annotations, then everything but metadata and status.

    Args:
        wanted: the answer of the dry run.
        live: the object as it is.

    Returns:
        Whether they differ. Only for labels and annotations are absent and empty the same.
    """
    left, right = wanted.get("metadata", {}), live.get("metadata", {})
    return any(
        (left.get(key) or {}) != (right.get(key) or {}) for key in ("labels", "annotations")
    ) or _content(wanted) != _content(live)


def _content(obj: JsonObject) -> JsonObject:
    return {key: value for key, value in obj.items() if key not in _SERVERS}
