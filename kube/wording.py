"""The texts of a failed apply, as Flux words them, so that what people search for still matches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from api import meta
from kube import errors
from runtime.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kube.changes import ChangeSet
    from kube.objects import ObjectId

_SHOWN: Final = 50
"""Errors quoted in one message; the others are counted."""
_IMMUTABLE: Final = re.compile(
    r"""(?x)
    (?<!not\ )\bimmutable\b(?!\ field\ manager)
    | may\ not\ be\ changed | may\ not\ change\ once\ set
    | cannot\ change\ roleRef
    | updates\ to\ \S+\ (spec\ for\ fields\ other\ than|are\ forbidden)
    | pod\ updates\ may\ not\ change\ fields
    """
)
"""The API server's ways of saying that a field cannot change; admission adds words of its own."""


class ApplyError(TransientError):
    """An apply that did not end; what it did is told with it.

    Args:
        texts: one for each object that failed, in the order of applying.
        changes: what was done before and beside.
        is_untouched: whether nothing was written for sure.
    """

    def __init__(
        self, texts: Sequence[str], changes: ChangeSet, *, is_untouched: bool = False
    ) -> None:
        self.texts = tuple(texts)
        self.changes = changes
        self.is_untouched = is_untouched
        shown = list(self.texts[:_SHOWN])
        if len(self.texts) > _SHOWN:
            shown.append(f"and {len(self.texts) - _SHOWN} more errors")
        lines = changes.lines()
        super().__init__(meta.RECONCILIATION_FAILED, "\n".join([*shown, lines] if lines else shown))


class ObjectError(Exception):
    """One object that cannot be applied; the message names it.

    Args:
        obj: the object.
        text: what is wrong with it, as Flux words it.
        ends_all: whether no other object of the apply can fare better.
    """

    def __init__(self, obj: ObjectId, text: str, *, ends_all: bool = False) -> None:
        super().__init__(text)
        self.obj = obj
        self.text = text
        self.ends_all = ends_all


def refused(obj: ObjectId, error: errors.ApiError) -> ObjectError:
    """Word a dry run that the server refused."""
    if isinstance(error, errors.NotFound) and not isinstance(error, errors.NoMatch):
        return ObjectError(obj, f"{obj} not found: {error.message}")
    reason = error.reason if not isinstance(error, errors.NoMatch) else ""
    text = f"{obj} dry-run failed{f' ({reason})' if reason else ''}: {error.message}"
    return ObjectError(obj, text, ends_all=_ends_all(error))


def without_namespace(obj: ObjectId) -> ObjectError:
    """Word an object of a namespaced kind that names no namespace."""
    text = "the server could not find the requested resource"
    return ObjectError(obj, f"{obj} namespace not specified: {text}")


def failed(obj: ObjectId, step: str, error: errors.ApiError) -> ObjectError:
    """Word a write that failed after the dry run had passed.

    Args:
        obj: the object.
        step: ``apply failed``, ``metadata.managedFields cleanup failed``, or what force did.
        error: what the server said.
    """
    return ObjectError(obj, f"{obj} {step}: {error.message}", ends_all=_ends_all(error))


def is_immutable(error: errors.ApiError) -> bool:
    """Whether an error says that a field cannot change, so that only a new object can have it.

    Flux takes every conflict and every validation failure for one, and deletes objects that are
    merely invalid; this looks for what API servers say about immutability.
    """
    if not isinstance(error, errors.Invalid | errors.Forbidden | errors.Conflict):
        return False
    return _IMMUTABLE.search(error.message) is not None


def _ends_all(error: errors.ApiError) -> bool:
    """Whether an error is about the server or the credentials and not about an object."""
    return isinstance(error, errors.Unreachable | errors.Unauthorized)
