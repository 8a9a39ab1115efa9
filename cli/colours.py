"""Colours for terminals, where their owner wants them."""

from __future__ import annotations

import os
import sys
from typing import Final

GREEN: Final = "\x1b[32m"
YELLOW: Final = "\x1b[33m"
RED: Final = "\x1b[31m"
DIM: Final = "\x1b[2m"
RESET: Final = "\x1b[0m"


def are_wanted() -> bool:
    """Whether to use colours: on a terminal, unless its owner asks for none."""
    is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not is_plain


def paint(colour: str, text: str) -> str:
    """Return a text in a colour, where colours are wanted."""
    return f"{colour}{text}{RESET}" if are_wanted() else text
