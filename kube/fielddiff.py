"""What differs between two states of an object, field by field, for people to read.

Both states come from the same server, so plain equality decides. Members of a list are matched by
what names them, where something does, so that a new sidecar is one addition and not a change of
everything behind it. Pure.
"""

from __future__ import annotations

import difflib
import enum
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kube.objects import JsonObject


class Missing(enum.Enum):
    """Stands for the value of a field that is not there; null is a value."""

    MISSING = enum.auto()


MISSING: Final = Missing.MISSING
Path: TypeAlias = tuple[str, ...]
"""Members of a list are written ``[name=web]`` or ``[3]``, everything else as the key."""

_NAMING: Final = ("name", "mountPath", "containerPort", "port", "key", "type", "ip")
"""Fields that tell the members of a list apart, the most telling first."""
_SERVERS: Final = frozenset({"metadata", "status"})
_SECRET_FIELDS: Final = frozenset({"data", "stringData"})
_COPIES: Final = ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
"""Where kubectl keeps a whole copy of what was applied, values included."""
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+\Z")
MASK: Final = "***"
"""Shown in place of a Secret's value, as in Flux."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs."""

    path: Path
    before: Any
    """`MISSING` where the field is added."""
    after: Any
    """`MISSING` where the field is removed."""

    @property
    def field(self) -> str:
        """The path as people write it: ``spec.containers[name=web].image``."""
        text = ""
        for part in self.path:
            if part.startswith("["):
                text += part
            elif _PLAIN_KEY.match(part):
                text += f".{part}" if text else part
            else:
                text += f"[{json.dumps(part)}]"
        return text


def view(obj: JsonObject) -> JsonObject:
    """Return the part of an object that an apply is about: no status, no server's metadata."""
    metadata = obj.get("metadata") or {}
    kept = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
    return {"metadata": kept} | {key: obj[key] for key in obj if key not in _SERVERS}


def changes(before: object, after: object, path: Path = ()) -> Iterator[Change]:
    """Yield what differs, in the order of the fields' names.

    Args:
        before: decoded JSON.
        after: decoded JSON.
        path: where both are.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from changes(before.get(key, MISSING), after.get(key, MISSING), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        naming = _naming(before, after)
        found = _named(before, after, naming, path) if naming else _aligned(before, after, path)
        yield from found
    elif before != after or type(before) is not type(after):
        yield Change(path, before, after)


def is_secret(obj: JsonObject) -> bool:
    """Whether the values of an object are nobody's business."""
    return obj.get("kind") == "Secret" and obj.get("apiVersion") == "v1"


def masked(change: Change) -> Change:
    """Return a change of a Secret without the values it holds."""
    head = change.path[:1]
    if head and head[0] in _SECRET_FIELDS:
        is_both = change.before is not MISSING and change.after is not MISSING
        before, after = (" (before)", " (after)") if is_both else ("", "")
        return Change(change.path, _mask(change.before, before), _mask(change.after, after))
    if change.path == _COPIES[: len(change.path)]:
        return Change(change.path, _without_copy(change.before), _without_copy(change.after))
    return change


def masked_object(obj: JsonObject) -> JsonObject:
    """Return an object without the values it holds if it is a Secret, else as it is."""
    if not is_secret(obj):
        return obj
    shown = dict(obj)
    for field in _SECRET_FIELDS & obj.keys():
        shown[field] = _mask(obj[field], "")
    annotations = (obj.get("metadata") or {}).get("annotations")
    if annotations and _COPIES[-1] in annotations:
        shown["metadata"] = obj["metadata"] | {"annotations": annotations | {_COPIES[-1]: MASK}}
    return shown


def _mask(value: object, suffix: str) -> object:
    if isinstance(value, dict):
        return {key: _mask(each, suffix) for key, each in value.items()}
    return value if value is MISSING or value is None else MASK + suffix


def _without_copy(value: object) -> object:
    """Mask kubectl's copy in an annotation's value, in the annotations or in the metadata."""
    if isinstance(value, dict):
        return {
            key: MASK if key == _COPIES[-1] else _without_copy(each) if key in _COPIES else each
            for key, each in value.items()
        }
    return MASK if isinstance(value, str) else value


def _naming(before: Sequence[object], after: Sequence[object]) -> str:
    """Return the field that names each member of both lists and no two of one; empty if none."""
    for field in _NAMING:
        if all(_tells_apart(field, members) for members in (before, after)):
            return field
    return ""


def _tells_apart(field: str, members: Sequence[object]) -> bool:
    names = [each[field] for each in members if isinstance(each, dict) and field in each]
    is_complete = len(names) == len(members) and not any(isinstance(n, dict | list) for n in names)
    return is_complete and len(set(names)) == len(names)


def _named(before: Sequence[Any], after: Sequence[Any], field: str, path: Path) -> Iterator[Change]:
    old, new = ({each[field]: each for each in members} for members in (before, after))
    for name in dict.fromkeys([*old, *new]):
        place = (*path, f"[{field}={name}]")
        yield from changes(old.get(name, MISSING), new.get(name, MISSING), place)
    if set(old) == set(new) and list(old) != list(new):
        yield Change((*path, f"[order of {field}]"), list(old), list(new))


def _aligned(before: Sequence[Any], after: Sequence[Any], path: Path) -> Iterator[Change]:
    """Yield what differs between lists of nameless members, equal ones matched first."""
    old, new = ([json.dumps(each, sort_keys=True) for each in side] for side in (before, after))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        for offset in range(max(end - start, new_end - new_start)):
            left, right = start + offset, new_start + offset
            index = left if left < end else right
            yield from changes(
                before[left] if left < end else MISSING,
                after[right] if right < new_end else MISSING,
                (*path, f"[{index}]"),
            )
