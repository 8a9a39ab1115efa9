"""The settings as commands see them: ``--config``, and what a wrong file means for a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from daemon import paths
from daemon import settings as daemon_settings
from inspection import failure

if TYPE_CHECKING:
    import argparse


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``."""
    parser.add_argument(
        "--config",
        type=Path,
        help="configuration file (default: $GITOPSD_CONFIG, then the platform's place)",
    )


def path(args: argparse.Namespace) -> Path:
    """Return the configuration file that a command line means."""
    named: Path | None = args.config
    return named or paths.default_config()


def load(args: argparse.Namespace) -> daemon_settings.Settings:
    """Read the settings.

    Raises:
        failure.UsageError: there is no file, or it is wrong.
    """
    file = path(args)
    if not file.exists():
        raise failure.UsageError(
            f"no configuration at {file}; begin with the example: "
            f"mkdir -p '{file.parent}' && gitopsd config > '{file}'"
        )
    try:
        return daemon_settings.load(file)
    except daemon_settings.SettingsError as err:
        raise failure.UsageError(str(err)) from err
