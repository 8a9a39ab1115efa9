"""``gitopsd run``: the daemon in the foreground, as a service manager starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import settings

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    settings.add_option(parser)


def execute(args: argparse.Namespace) -> int:
    """Run until a signal asks for the end."""
    settings.load(args)  # a missing file is answered with how to begin
    from daemon import main  # the whole daemon; other commands do without it

    return main.run(settings.path(args))
