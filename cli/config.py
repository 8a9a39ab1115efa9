"""``gitopsd config``: the commented example of ``config.toml``, to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import resources
from daemon import paths

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--path", action="store_true", help="print where the file is looked for instead"
    )


def execute(args: argparse.Namespace) -> int:
    """Print the example, or the path."""
    print(paths.default_config() if args.path else resources.read("config.toml"), end="")
    if args.path:
        print()
    return 0
