"""``gitopsd service``: the launchd agent on macOS, the systemd unit on Linux."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from cli import services, settings
from inspection import failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("action", choices=("install", "uninstall", "status"))
    settings.add_option(parser)
    parser.add_argument("--user", default="", help="root on Linux: the user it runs as")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done")


def execute(args: argparse.Namespace) -> int:
    """Install, remove or show the service."""
    loaded = settings.load(args)
    service = services.choose(
        sys.platform, config=settings.path(args), data_dir=loaded.data_dir, user=args.user
    )
    if args.dry_run:
        _print(service, args.action)
        return 0
    if args.action == "status":
        return _call(service.status, is_checked=False)
    if args.action == "install":
        _write(service, loaded.data_dir)
        _run(service.install)
        print(f"installed {service.path}; see `gitopsd status`\n{service.hint}".rstrip())
        return 0
    _run(service.uninstall)
    service.path.unlink(missing_ok=True)
    print(f"removed {service.path}; data and settings are left alone")
    return 0


def _write(service: services.Service, data_dir: Path) -> None:
    """Make the data directory and write the service's file.

    Raises:
        failure.CommandError: the file system refused.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        service.path.parent.mkdir(parents=True, exist_ok=True)
        service.path.write_text(service.text)
    except OSError as err:
        raise failure.CommandError(
            f"{err.filename}: {err.strerror}; set [daemon] data_dir to another directory, "
            "or run this as a user who may write there"
        ) from err


def _print(service: services.Service, action: str) -> None:
    """Print what an action would do."""
    commands = {
        "install": service.install,
        "uninstall": service.uninstall,
        "status": (service.status,),
    }[action]
    if action == "install":
        print(f"# {service.path}\n{service.text}")
    for command in commands:
        print("#", *command)


def _run(commands: Sequence[Sequence[str]]) -> None:
    """Run the commands in order; the first that fails ends it, except those that undo."""
    for command in commands:
        _call(command, is_checked=not services.is_undoing(command))


def _call(command: Sequence[str], *, is_checked: bool) -> int:
    """Run one command in the terminal.

    Raises:
        failure.CommandError: it is missing or, where that matters, it failed.
    """
    try:
        status = subprocess.run(command, check=False).returncode
    except FileNotFoundError as err:
        raise failure.CommandError(f"{command[0]}: not found; is this machine run by it?") from err
    if status and is_checked:
        raise failure.CommandError(f"{' '.join(command)}: exit status {status}")
    return min(status, 1)
