"""Which resources a call of a Receiver reaches: its ``resourceFilter`` and each one's ``filter``.

An expression sees ``req``, the body of the call, and ``res``, the object's API version, kind and
metadata. As in Flux the body counts only where it is declared as ``application/json``, and every
number is a double.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api import meta
from runtime import cel
from runtime.errors import TerminalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.notification import Receiver, ReceiverResource
    from kube.objects import JsonObject
    from reconcilers.context import ClusterContext

_VARIABLES: Final = ("req", "res")
_JSON: Final = "application/json"


class FilterError(Exception):
    """The body of a call cannot be filtered by."""


class Call(NamedTuple):
    """What came in at the path of a Receiver."""

    content_type: str = ""
    """The media type alone, without parameters."""
    body: bytes = b""


class Filter:
    """The expressions that all must hold for one entry of ``resources``.

    Args:
        programs: none, where everything passes.
        request: the body of the call.
    """

    def __init__(self, programs: tuple[cel.Program, ...], request: JsonObject) -> None:
        self._programs = programs
        self._request = request

    def __bool__(self) -> bool:
        """Whether anything is asked at all."""
        return bool(self._programs)

    def passes(self, obj: JsonObject) -> bool:
        """Whether an object is reached.

        Raises:
            cel.EvaluationError: an expression asks for what is not there.
        """
        res = {key: obj[key] for key in ("apiVersion", "kind", "metadata") if key in obj}
        values = {"req": self._request, "res": _with_doubles(res)}
        return all(program.evaluate(values) for program in self._programs)


def check(receiver: Receiver) -> None:
    """Compile every expression of a Receiver.

    Raises:
        TerminalError: one can never work.
    """
    for path, source in _sources(receiver):
        try:
            cel.check(source, *_VARIABLES)
        except cel.CompileError as err:
            where = f"{path}: " if path else ""
            raise TerminalError(
                meta.INVALID_CEL_EXPRESSION, f"{meta.FAILED_TERMINALLY}: {where}{err}"
            ) from err


def has_any(receiver: Receiver) -> bool:
    """Whether a Receiver filters at all."""
    return any(_sources(receiver))


async def of_call(
    context: ClusterContext, receiver: Receiver, call: Call
) -> list[tuple[ReceiverResource, Filter]]:
    """Return the entries of ``resources``, each with its filter.

    Raises:
        FilterError: the body is no JSON object.
        cel.CompileError: an expression can never work.
    """
    request: JsonObject = {}
    if call.content_type == _JSON and has_any(receiver):
        request = await context.threads.run(_object, call.body)
    return [
        (
            resource,
            Filter(
                tuple(
                    cel.check(source, *_VARIABLES)
                    for source in (receiver.spec.resource_filter, resource.filter)
                    if source
                ),
                request,
            ),
        )
        for resource in receiver.spec.resources
    ]


def _sources(receiver: Receiver) -> Iterator[tuple[str, str]]:
    """Yield every expression; before it, for those of one resource, where it is."""
    if receiver.spec.resource_filter:
        yield "", receiver.spec.resource_filter
    for index, resource in enumerate(receiver.spec.resources):
        if resource.filter:
            yield f"resources[{index}].filter", resource.filter


def _object(body: bytes) -> JsonObject:
    """Read a JSON object, with all numbers as doubles."""
    try:
        found = json.loads(body, parse_int=float)
    except (ValueError, RecursionError) as err:
        raise FilterError("the body is declared as JSON and is not") from err
    if not isinstance(found, dict):
        raise FilterError("the body is JSON, but not an object")
    return found


def _with_doubles(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _with_doubles(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_doubles(each) for each in value]
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_whole else value
