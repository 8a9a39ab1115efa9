"""All tools, and which of them a server offers."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

from mcp_server import (
    acting,
    applying,
    comparing,
    contexts,
    docs,
    exploring,
    planning,
    reading,
    returning,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcp_server.tool import Tool

ALL: Final[tuple[Tool[Any], ...]] = (
    *exploring.TOOLS,
    *comparing.TOOLS,
    *planning.TOOLS,
    *returning.TOOLS,
    *waiting.TOOLS,
    *reading.TOOLS,
    *docs.TOOLS,
    *contexts.TOOLS,
    *acting.TOOLS,
    *applying.TOOLS,
)
"""Every tool, those first that answer most."""


def offered(*, read_only: bool = False, allowed: Collection[str] = ()) -> dict[str, Tool[Any]]:
    """Return the tools that a server offers, by name.

    Args:
        read_only: leave out what changes something.
        allowed: these alone; all where empty.

    Raises:
        ValueError: an allowed tool does not exist, or writes although nothing may.
    """
    known = {each.name: each for each in ALL}
    for name in allowed:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"there is no tool {name!r}; {hint}")
        if read_only and known[name].writes:
            raise ValueError(f"the tool {name} writes, which --read-only forbids")
    return {
        name: each
        for name, each in known.items()
        if (not allowed or name in allowed) and not (read_only and each.writes)
    }
