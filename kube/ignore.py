"""Fields of live objects that are left to others: ``spec.ignore`` of a Kustomization. Pure.

A rule names fields by JSON pointers, of all objects or of those that a selector picks. An ignored
field is not compared. When the object is applied for another reason, what the field is now stays:
where another manager applied it, our claim on it is given up, otherwise its value is sent along. An
object that does not exist yet is created whole. All of this is Flux's.

So that somebody who writes an ignored field costs nothing, the field is also taken out of the
digest of our ownership (`kube.ownership`), which means finding its place in ``fieldsV1``: a member
of a list goes by its keys there, not by its index.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from kube import selectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from api.kustomize import IgnoreRule
    from api.kustomize import Selector as Target
    from kube.desired import Desired
    from kube.objects import JsonObject

Pointer: TypeAlias = tuple[str, ...]
"""The parts of a JSON pointer."""
FieldPath: TypeAlias = tuple[str | bytes, ...]
"""A place in ``fieldsV1``: names of fields, and as JSON the members of lists that it passes."""
_ABSENT: Final = object()
_EVERYTHING: Final = selectors.Selector(())


@dataclass(frozen=True, slots=True)
class _Rule:
    pointers: tuple[Pointer, ...]
    is_whole: bool
    names: tuple[tuple[str, re.Pattern[str]], ...]
    labels: selectors.Selector
    annotations: selectors.Selector

    def may_select(self, desired: Desired) -> bool:
        names = {"name": desired.id.name, "namespace": desired.id.namespace}
        found = {**desired.gvk._asdict(), **names}
        return all(pattern.fullmatch(found[name]) for name, pattern in self.names)

    def selects(self, obj: JsonObject) -> bool:
        metadata = obj["metadata"]
        return self.labels.matches(metadata.get("labels") or {}) and self.annotations.matches(
            metadata.get("annotations") or {}
        )


class Rules:
    """The rules of one owner.

    Args:
        rules: as in its spec. A pointer that is none has no effect.

    Raises:
        ValueError: a selector is no regular expression, or no label selector.
    """

    def __init__(self, rules: Iterable[IgnoreRule]) -> None:
        self._rules = [
            _Rule(
                tuple(pointer for path in rule.paths if (pointer := parse(path))),
                "" in rule.paths,
                tuple(_patterns(rule.target)),
                _labels("label", rule.target.label_selector if rule.target else ""),
                _labels("annotation", rule.target.annotation_selector if rule.target else ""),
            )
            for rule in rules
        ]

    def may_select(self, desired: Desired) -> bool:
        """Whether any rule is for an object as far as its name and kind tell."""
        return any(rule.may_select(desired) for rule in self._rules)

    def pointers(self, desired: Desired, obj: JsonObject) -> tuple[Pointer, ...]:
        """Return the fields of one object that are ignored.

        Args:
            desired: the object's names.
            obj: its manifest.
        """
        return tuple(
            pointer
            for rule in self._rules
            if rule.may_select(desired) and rule.selects(obj)
            for pointer in rule.pointers
        )

    def excludes(self, desired: Desired, obj: JsonObject) -> bool:
        """Whether one object is ignored as a whole, by a pointer to the document.

        Args:
            desired: the object's names.
            obj: its manifest.
        """
        return any(
            rule.is_whole and rule.may_select(desired) and rule.selects(obj) for rule in self._rules
        )


def parse(text: str) -> Pointer:
    """Return the parts of a JSON pointer; nothing where it is none, or the whole document."""
    if not text.startswith("/"):
        return ()
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def without(obj: JsonObject, pointers: Iterable[Pointer]) -> JsonObject:
    """Return an object without some fields; one that is not there has no effect."""
    result = copy.deepcopy(obj)
    for pointer in pointers:
        _remove(result, pointer)
    return result


def adapted(
    body: JsonObject,
    *,
    wanted: JsonObject,
    live: JsonObject,
    pointers: Iterable[Pointer],
    others: Sequence[JsonObject] = (),
) -> JsonObject:
    """Return what to send for an object that exists, so that ignored fields stay as they are.

    Args:
        body: the manifest.
        wanted: what the server would make of it.
        live: what the server has.
        pointers: the ignored fields.
        others: the ``fieldsV1`` of what other managers applied; it is left out of the manifest.
    """
    result = copy.deepcopy(body)
    for pointer in pointers:
        now = _find(live, pointer)
        if now == _find(wanted, pointer):
            continue
        path = tuple(_steps(live, pointer))
        if now is _ABSENT or any(_has(fields, path) for fields in others):
            _remove(result, pointer)
        else:
            _set(result, pointer, now)
    return result


def fields_of(obj: JsonObject, pointers: Iterable[Pointer]) -> tuple[FieldPath, ...]:
    """Return where ``fieldsV1`` has some fields of an object."""
    return tuple(tuple(_steps(obj, pointer)) for pointer in pointers)


def without_fields(fields: JsonObject, paths: Iterable[FieldPath]) -> JsonObject:
    """Return a ``fieldsV1`` tree without some fields, and what they alone filled."""
    for path in paths:
        fields = _pruned(fields, path)
    return fields


def _pruned(fields: JsonObject, path: FieldPath) -> JsonObject:
    key = _key(fields, path[0])
    if key is None:
        return fields
    rest = {name: value for name, value in fields.items() if name != key}
    if len(path) == 1:
        return rest
    below = _pruned(fields[key], path[1:])
    is_emptied = not below and fields[key]
    return rest if is_emptied else {**rest, key: below}


def _key(fields: Mapping[str, object], step: str | bytes) -> str | None:
    """Return the key of ``fieldsV1`` that a step means, if it is there."""
    if isinstance(step, str):
        return step if step in fields else None
    member = orjson.loads(step)
    for key in fields:
        kind, _, text = key.partition(":")
        if kind == "v" and orjson.loads(text) == member:
            return key
        if kind == "k" and isinstance(member, dict):
            keys: JsonObject = orjson.loads(text)
            if keys.items() <= {name: member.get(name) for name in keys}.items():
                return key
    return None


def _steps(obj: Any, pointer: Pointer) -> Iterator[str | bytes]:  # noqa: ANN401 - any JSON value
    for part in pointer:
        below = _child(obj, part)
        yield orjson.dumps(_plain(below)) if isinstance(obj, list) else f"f:{part}"
        obj = below


def _plain(member: object) -> object:
    """Return what the keys of a list's member can be made of."""
    if isinstance(member, dict):
        return {key: value for key, value in member.items() if not isinstance(value, dict | list)}
    return None if member is _ABSENT else member


def _has(fields: JsonObject, path: FieldPath) -> bool:
    for step in path:
        key = _key(fields, step)
        if key is None:
            return False
        fields = fields[key]
    return True


def _child(value: object, part: str) -> object:
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return _ABSENT


def _find(value: object, pointer: Pointer) -> object:
    for part in pointer:
        value = _child(value, part)
    return value


def _remove(obj: object, pointer: Pointer) -> None:
    parent = _find(obj, pointer[:-1])
    if _child(parent, pointer[-1]) is _ABSENT:
        return
    if isinstance(parent, dict):
        del parent[pointer[-1]]
    elif isinstance(parent, list):
        del parent[int(pointer[-1])]


def _set(obj: object, pointer: Pointer, value: object) -> None:
    """Set a field whose parent is there."""
    parent = _find(obj, pointer[:-1])
    if isinstance(parent, dict):
        parent[pointer[-1]] = value
    elif isinstance(parent, list) and _child(parent, pointer[-1]) is not _ABSENT:
        parent[int(pointer[-1])] = value


def _patterns(target: Target | None) -> Iterator[tuple[str, re.Pattern[str]]]:
    for name in ("group", "version", "kind", "name", "namespace"):
        text = getattr(target, name, "")
        if text:
            try:
                yield name, re.compile(text)
            except re.error as error:
                raise ValueError(f"invalid {name} regex: {error}") from error


def _labels(what: str, text: str) -> selectors.Selector:
    try:
        return selectors.parse(text) if text else _EVERYTHING
    except ValueError as error:
        raise ValueError(f"invalid {what} selector: {error}") from error
