"""What an object can be called, looked at before it becomes part of a URL."""

from __future__ import annotations

import re
from typing import Final

from inspection import failure

_NAME: Final = re.compile(r"(?!\.{1,2}\Z)[^/%]+")
"""What the API server takes for one segment of a path."""


def check(name: str) -> None:
    """Refuse what no object can be called. An empty name would mean all objects of a kind.

    Raises:
        failure.UsageError: it is no name.
    """
    if not name:
        raise failure.UsageError("the name of an object is empty; is a variable of the shell?")
    if not _NAME.fullmatch(name):
        raise failure.UsageError(f"{name!r} is no name of an object")
