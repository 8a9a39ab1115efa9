"""What a tool is: typed arguments in, a short text and typed data out, and how it behaves.

The JSON schemas that clients see are made from the types; what a client sends is decoded into them,
so that a wrong argument is answered with its name before anything runs.
"""

from __future__ import annotations

import difflib
import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, NamedTuple, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_server.desk import Call

MOST_CHARACTERS: Final = 20_000
"""Of the text of one answer; more goes on the next page."""
_SEGMENT: Final = re.compile(r"(?!\.{1,2}\Z)[^/%]*")
"""What the API server takes for one segment of a path."""
_UNKNOWN: Final = re.compile(r"unknown field `(?P<name>[^`]+)`")


def about(description: str) -> msgspec.Meta:
    """Say what an argument is for, as clients are told."""
    return msgspec.Meta(description=description)


class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments that every tool has."""

    cluster: Annotated[
        str,
        msgspec.Meta(
            description="Name of the cluster, as list_clusters has it; the only one, or the one "
            "that set_kubeconfig_context chose, where left out."
        ),
    ] = ""
    segments: ClassVar[frozenset[str]] = frozenset(
        {"name", "namespace", "pod_name", "pod_namespace", "container_name"}
    )
    """Arguments that become one segment of a URL's path."""

    def __post_init__(self) -> None:
        """Refuse what no object can be called: an empty name would mean all objects.

        Raises:
            ValueError: the message names the argument.
        """
        for each in msgspec.structs.fields(type(self)):
            value = getattr(self, each.name)
            if each.required and value == "":
                raise ValueError(f"{each.encode_name} is required")
            if each.name in self.segments and not _SEGMENT.fullmatch(value):
                raise ValueError(f"{each.encode_name}: {value!r} is no name of anything")


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The base of what tools return as structured content."""


A = TypeVar("A", bound=Arguments)


class Answer(NamedTuple):
    """What a tool has to say."""

    text: str
    """For the model, short."""
    data: msgspec.Struct
    """For programs, of the type that the tool promises."""


@dataclass(frozen=True, slots=True)
class Tool(Generic[A]):
    """One tool."""

    name: str
    title: str
    arguments: type[A]
    result: type[msgspec.Struct]
    run: Callable[[Call, A], Awaitable[Answer]]
    """Does it; its docstring is what clients are told."""
    writes: bool = False
    """Whether it changes something in a cluster; those are not there with ``--read-only``."""
    destroys: bool = False
    """Whether what it changes may be lost by it."""
    is_idempotent: bool = True
    """Whether doing it twice is the same as doing it once."""
    reaches_out: bool = False
    """Whether it calls other hosts than the clusters' API servers."""

    @property
    def description(self) -> str:
        """What clients are told."""
        return inspect.cleandoc(self.run.__doc__ or "")

    def decode(self, given: dict[str, Any]) -> A:
        """Read the arguments of a call; numbers and booleans may come as text.

        Raises:
            ValueError: an argument is missing, unknown or of the wrong type.
        """
        try:
            return msgspec.convert(given, self.arguments, strict=False)
        except msgspec.ValidationError as err:
            raise ValueError(f"{self._explain(str(err))}; {self._usage()}") from err

    def _explain(self, text: str) -> str:
        unknown = _UNKNOWN.search(text)
        if unknown is None:
            return text
        near = difflib.get_close_matches(unknown["name"], self._names(), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        return f"there is no argument {unknown['name']!r}{hint}"

    def _usage(self) -> str:
        fields = msgspec.structs.fields(self.arguments)
        words = [each.encode_name if each.required else f"[{each.encode_name}]" for each in fields]
        return f"{self.name} takes {' '.join(words)}"

    def _names(self) -> list[str]:
        return [each.encode_name for each in msgspec.structs.fields(self.arguments)]


def schema(type_: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of a type, with an object at its root as the protocol wants it."""
    _, components = msgspec.json.schema_components([type_], ref_template="#/$defs/{name}")
    name = type_.__name__
    root = dict(components[name])
    rest = {key: value for key, value in components.items() if key != name or _refers(root, name)}
    return root | ({"$defs": rest} if rest else {})


def shortened(text: str, advice: str) -> str:
    """Return a text cut to what an answer may have, with what to do to see the rest."""
    if len(text) <= MOST_CHARACTERS:
        return text
    cut = text[:MOST_CHARACTERS].rpartition("\n")[0] or text[:MOST_CHARACTERS]
    return f"{cut}\n… {len(text) - len(cut)} more characters: {advice}"


def _refers(root: dict[str, Any], name: str) -> bool:
    """Tell whether a schema contains itself."""
    return f"#/$defs/{name}" in str(root)
