"""Directories of plain manifests, built without kustomize where the result is provably the same.

kustomize reads YAML 1.2, writes JSON-like YAML, drops some objects and refuses duplicates; Flux
then reads that as YAML 1.1. For most files all of this changes nothing. `is_exact` recognises those
by looking at every node: a file with anything that the two readers could see differently, or that
kustomize acts upon, is not exact, and then kustomize builds the directory. A differential test
against the real program keeps the border honest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from kube import manifests

if TYPE_CHECKING:
    from kube.objects import JsonObject

_PLAIN: Final = "plain"
_QUOTED: Final = "quoted"
_COLLECTION: Final = "collection"
_ACTED_UPON: Final = re.compile(
    # Annotations and API groups that kustomize itself understands; a JSON escape that it refuses;
    # byte order marks; document ends and directives; separators with anything after them.
    # A lone exclamation mark is a tag that the composer does not tell from quotes.
    r"config\.k8s\.io|config\.kubernetes\.io|\\/|\ufeff|^\.\.\.|^%|^---[^\n]*\S|(?<!\S)!(?!\S)",
    re.MULTILINE,
)
_WORDS: Final = frozenset({"", "~", "null", "true", "false"})
_NUMBER: Final = re.compile(r"(?:0|-?[1-9][0-9]{0,14}|-?(?:0|[1-9][0-9]{0,8})\.[0-9]{0,5}[1-9])\Z")
_TEXT: Final = re.compile(
    r"(?:"
    r"[0-9]+(?:\.[0-9]+)?(?:m|k|M|G|T|Ki|Mi|Gi|Ti|%)"  # quantities
    r"|(?:[0-9]+(?:ms|m|s|h))+"  # durations
    r"|[0-9]+\.[0-9]+\.[0-9]+[^\s:]*"  # versions, addresses
    r"|--?[A-Za-z][^\n]*"  # command-line flags
    r"|\.?\./[^\n]*"  # paths
    r"|[A-Za-z/_$(*@^\\][^\n]*"
    r")\Z",
    re.DOTALL,
)
_RETYPED: Final = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan"}
)
"""Words that one of the readers takes for more than text in some letter case."""


class _Reader(CParser):
    """PyYAML's C parser; it tells of each scalar only whether it was plain."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def resolve(self, kind: type[Node], _value: object, implicit: tuple[bool, bool]) -> str:
        """Name the tag of a node without an explicit one; called by the C composer."""
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return _COLLECTION

    def descend_resolver(self, _parent: Node | None, _index: object) -> None:
        """Bound the nesting, which the composer follows by recursion in C."""
        self._depth += 1
        if self._depth > manifests.MAX_DEPTH:
            raise ValueError("nested too deep")

    def ascend_resolver(self) -> None:
        """Note one level less."""
        self._depth -= 1


def is_exact(content: bytes) -> bool:
    """Whether kustomize would hand every object of a file on as it stands there."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False
    if _ACTED_UPON.search(text):
        return False
    reader = _Reader(text)
    try:
        while reader.check_node():
            if not _is_exact_node(reader.get_node()):
                return False
    except (yaml.YAMLError, ValueError):
        return False
    return True


def _is_exact_node(root: Node | None) -> bool:
    seen: set[int] = set()
    pending = [root] if root is not None else []
    while pending:
        node = pending.pop()
        if id(node) in seen:  # an alias: kustomize expands some and keeps others
            return False
        seen.add(id(node))
        if isinstance(node, ScalarNode):
            if not _is_exact_scalar(node):
                return False
        elif node.tag is not _COLLECTION:
            return False
        elif isinstance(node, SequenceNode):
            pending.extend(node.value)
        elif isinstance(node, MappingNode):
            if not _are_exact_keys([key for key, _ in node.value]):
                return False
            pending.extend(value for _, value in node.value)
    return True


def _are_exact_keys(keys: list[Node]) -> bool:
    scalars = [key for key in keys if isinstance(key, ScalarNode)]
    is_unique = len({key.value for key in scalars}) == len(keys)
    return is_unique and all(_is_exact_key(key) for key in scalars)


def _is_exact_key(key: ScalarNode) -> bool:
    if key.tag is _QUOTED:
        return True
    return key.tag is _PLAIN and key.value not in _WORDS and _is_text(key.value)


def _is_exact_scalar(node: ScalarNode) -> bool:
    if node.tag is _QUOTED:
        return True
    if node.tag is not _PLAIN:
        return False
    value: str = node.value
    return value in _WORDS or bool(_NUMBER.match(value)) or _is_text(value)


def _is_text(value: str) -> bool:
    return value.lower().lstrip("+-.") not in _RETYPED and bool(_TEXT.match(value))


def is_ordinary(obj: JsonObject) -> bool:
    """Whether kustomize would neither refuse, unpack nor drop an object."""
    metadata = obj.get("metadata")
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if not (isinstance(kind, str) and isinstance(version, str) and isinstance(metadata, dict)):
        return False
    if not (kind and version) or kind.endswith("List"):
        return False
    return _is_name(metadata.get("name")) and all(
        key not in metadata or check(metadata[key])
        for key, check in (
            ("namespace", _is_name),
            ("labels", _is_string_map),
            ("annotations", _is_string_map),
        )
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_string_map(value: object) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(key, str) and isinstance(text, str) for key, text in value.items())
    )
