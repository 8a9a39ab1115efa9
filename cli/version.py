"""``gitopsd version``."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from api import __version__

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no options."""
    del parser


def execute(args: argparse.Namespace) -> int:
    """Print our version, and Python's and the system's, which every report of a fault needs."""
    del args
    print(f"gitopsd {__version__} (Python {platform.python_version()}, {platform.platform()})")
    return 0
