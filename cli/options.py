"""Options that many commands have; importing them costs nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cli import settings

if TYPE_CHECKING:
    import argparse


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` and ``--cluster``."""
    settings.add_option(parser)
    parser.add_argument("--cluster", default="", help="one cluster, by its name in config.toml")


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Add ``--namespace``."""
    default = os.environ.get("FLUX_SYSTEM_NAMESPACE", "flux-system")
    parser.add_argument("-n", "--namespace", default=default, help=f"default: {default}")
