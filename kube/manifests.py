"""YAML and JSON text <-> objects, read exactly as Flux reads them.

PyYAML's C parser composes the nodes and a small walker makes plain objects of them by the rules of
`kube.scalars`, since both PyYAML's own constructors and every YAML 1.2 parser read some manifests
differently than the cluster's other tools. 1,000 documents of 20 lines take a tenth of a second.

Input is hostile: a document may nest without end (the composer recurses in C, and overflowing that
stack kills the process) or multiply itself through aliases. Both have a bound and end in a
`ManifestError`, as everything else that is wrong with a text does.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from kube import scalars

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 200
"""Levels of nesting; the deepest schemas of real definitions have about 60."""
MAX_EXPANDED: Final = 400_000
"""Values in one document once its aliases are written out."""

_PLAIN: Final = "plain"
_STRING: Final = "tag:yaml.org,2002:str"
_COLLECTION: Final = "collection"
_SUSPECT: Final = scalars.SUSPECT | {"<"}
"""First characters of the plain scalars that may be more than text (or a merge, as a key)."""
_BORDER: Final = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)


class ManifestError(Exception):
    """A text that cannot be read.

    Args:
        problem: what is wrong, without any of the text's values.
        line: where, counted from 1; 0 where that is unknown.
        name: of the file; may be empty.
    """

    def __init__(self, problem: str, line: int, name: str = "") -> None:
        parts = [name, f"line {line}" if line else "", problem]
        super().__init__(": ".join(part for part in parts if part))
        self.problem = problem
        self.line = line
        self.name = name


class Document(NamedTuple):
    """One document of a stream."""

    number: int
    """Which one, counted from 0; empty documents count."""
    line: int
    """Where its content begins, counted from 1."""
    value: Any
    """The object; None for an empty document."""


class Piece(NamedTuple):
    """The text of one document, as a range of a stream."""

    start: int
    """Offset of its first byte: behind the ``---`` of its border."""
    end: int
    line: int
    """Line of the first byte, counted from 1."""


def documents(text: str | bytes, name: str = "") -> Iterator[Document]:
    """Read a stream of documents one after the other.

    Args:
        text: YAML or JSON; bytes are UTF-8 unless they say otherwise by a byte order mark.
        name: of the file, for errors.

    Yields:
        Each document, also empty ones between borders. Of repeated keys the last counts.

    Raises:
        ManifestError: the text is not YAML, or has no form in JSON, or exceeds a limit.
    """
    may_alias = b"&" in text if isinstance(text, bytes) else "&" in text
    try:
        parser = _Parser(text)
        number = 0
        while parser.check_node():
            node: Node = parser.get_node()  # type: ignore[assignment]  # there is one: just checked
            if may_alias:
                _measure(node)
            yield Document(number, node.start_mark.line + 1, _build(node))
            number += 1
    except ManifestError as error:
        raise ManifestError(error.problem, error.line, name) from error.__cause__
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ManifestError(str(error.problem or error.context), line, name) from error
    except ReaderError as error:
        raise ManifestError(f"unreadable character: {error.reason}", 0, name) from error
    except UnicodeDecodeError as error:
        raise ManifestError("the text is not UTF-8", 0, name) from error


def load_all(text: str | bytes, name: str = "") -> Iterator[Any]:
    """Read a stream of documents; the values of `documents`.

    Raises:
        ManifestError: see `documents`.
    """
    return (document.value for document in documents(text, name))


def load(text: str | bytes, name: str = "") -> Any:  # noqa: ANN401 - a manifest may be anything
    """Return the first document of a text; None if it has none.

    Raises:
        ManifestError: see `documents`.
    """
    return next(load_all(text, name), None)


def split(text: bytes) -> Iterator[Piece]:
    """Cut a stream at its borders without reading it, so that known documents need no parsing.

    A line that begins with ``---`` is a border wherever it stands: YAML allows it inside no value.

    Args:
        text: UTF-8.

    Yields:
        The pieces in order, also those with nothing but comments in them.
    """
    start, line = 0, 1
    for border in _BORDER.finditer(text):
        if border.start() > start:
            yield Piece(start, border.start(), line)
        line += text.count(b"\n", start, border.end())
        start = border.end()
    if start < len(text):
        yield Piece(start, len(text), line)


def dump(obj: object, *, width: int = 120) -> bytes:
    """Write an object as YAML for people: keys in their order, texts of several lines as blocks.

    What would be read as another type without quotes gets them.

    Args:
        obj: the object.
        width: columns after which a text is folded.
    """
    text = yaml.dump(
        obj,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=width,
    )
    return text.encode()


class _Parser(CParser):
    """The composer, with a guard on depth and without PyYAML's own idea of types."""

    def __init__(self, text: str | bytes) -> None:
        super().__init__(text)
        self._depth = 0

    def resolve(self, kind: type[Node], _value: object, implicit: tuple[bool, bool]) -> str:
        """Name the type of a node that has no tag; called from C."""
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _STRING
        return _COLLECTION

    def descend_resolver(self, _parent: Node | None, _index: object) -> None:
        """Note one level more; called from C before each node."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ManifestError(f"nested more than {MAX_DEPTH} levels deep", 0)

    def ascend_resolver(self) -> None:
        """Note one level less; called from C after each node."""
        self._depth -= 1


def _build(node: Node) -> Any:  # noqa: ANN401 - a manifest may be anything
    if isinstance(node, ScalarNode):
        return _scalar(node)
    if isinstance(node, MappingNode):
        return _mapping(node)
    return [_build(item) for item in node.value]


def _mapping(node: MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    merged: list[Node] = []
    for key, value in node.value:
        text = key.value
        if key.tag is not _STRING and (type(text) is not str or text[:1] in _SUSPECT):
            if text == "<<" and key.tag is _PLAIN:
                merged += value.value if type(value) is SequenceNode else [value]
                continue
            text = _key(key)
        # Most values are scalars; not calling for each of them halves the time of a manifest.
        result[text] = _scalar(value) if type(value) is ScalarNode else _build(value)
    for each in merged:
        if not isinstance(each, MappingNode):
            raise ManifestError("map merge requires a map", each.start_mark.line + 1)
        for name, inherited in _mapping(each).items():
            result.setdefault(name, inherited)
    return result


def _key(node: Node) -> str:
    line = node.start_mark.line + 1
    if not isinstance(node, ScalarNode):
        raise ManifestError("a mapping key must be a scalar", line)
    if node.tag is not _PLAIN:
        return str(node.value)
    try:
        return scalars.key(node.value)
    except ValueError as error:
        raise ManifestError(str(error), line) from error


def _scalar(node: ScalarNode) -> scalars.Scalar:
    text: str = node.value
    if node.tag is _STRING or (node.tag is _PLAIN and text[:1] not in _SUSPECT):
        return text
    try:
        if node.tag is _PLAIN:
            return scalars.resolve(text)
        return _tagged(node.tag.rpartition(":")[2], text)
    except ValueError as error:
        raise ManifestError(str(error), node.start_mark.line + 1) from error


def _tagged(tag: str, text: str) -> scalars.Scalar:
    match tag:
        case "int" | "float":
            value = scalars.number(text)
            if isinstance(value, str):
                raise ValueError(f"the value is not a number, which !!{tag} wants")  # noqa: TRY004 - text of another form, not a type
            return value
        case "bool":
            return scalars.boolean(text)
        case "null":
            return None
        case "binary":
            return base64.b64decode("".join(text.split()), validate=True).decode()
        case _:
            return text


def _measure(document: Node) -> None:
    """Refuse a document whose aliases multiply or contain themselves."""
    sizes: dict[int, int] = {}

    def size(node: Node) -> int:
        known = sizes.get(id(node))
        if known is not None:
            if known == 0:
                raise ManifestError("an anchor contains itself", node.start_mark.line + 1)
            return known
        if type(node) is ScalarNode:
            total = 1
        else:
            sizes[id(node)] = 0
            pairs = node.value
            items = (
                pairs if type(node) is SequenceNode else [part for pair in pairs for part in pair]
            )
            total = 1 + sum(size(item) for item in items)
            if total > MAX_EXPANDED:
                raise ManifestError("the document's aliases multiply it without bound", 0)
        sizes[id(node)] = total
        return total

    size(document)


class _Dumper(yaml.CSafeDumper):
    """Quotes by our own reading of scalars, and never writes anchors."""

    def ignore_aliases(self, _data: object) -> bool:
        """Write everything out."""
        return True


def _represent_text(dumper: _Dumper, text: str) -> ScalarNode:
    if "\n" in text:
        return dumper.represent_scalar(_STRING, text, style="|")
    return dumper.represent_scalar(_STRING, text, style=None if _reads_as_text(text) else '"')


def _reads_as_text(text: str) -> bool:
    try:
        return scalars.resolve(text) == text
    except ValueError:
        return False


_Dumper.add_representer(str, _represent_text)
