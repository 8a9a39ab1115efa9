"""Options that many commands have; importing them costs nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from api import durations
from cli import settings
from inspection import failure, names

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` and ``--cluster``."""
    settings.add_option(parser)
    parser.add_argument("--cluster", default="", help="one cluster, by its name in config.toml")


def add_namespace(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add ``--namespace``, by default Flux's own."""
    if default is None:
        default = os.environ.get("FLUX_SYSTEM_NAMESPACE", "flux-system")
    shown = f"default: {default}" if default else "of one namespace only"
    parser.add_argument("-n", "--namespace", default=default, help=shown)


def seconds(text: str) -> float:
    """Read the value of ``--timeout``.

    Raises:
        failure.UsageError: it is no duration.
    """
    try:
        return durations.parse(text)
    except ValueError as err:
        raise failure.UsageError(f"--timeout: {err}; write 90s or 5m") from err


def read_file(name: str) -> str:
    """Return the text of a file, or of standard input for ``-``.

    Raises:
        failure.UsageError: it cannot be read.
    """
    try:
        return sys.stdin.read() if name == "-" else Path(name).expanduser().read_text()
    except OSError as err:
        raise failure.UsageError(f"{name}: {err.strerror or err}") from err
    except UnicodeDecodeError as err:
        raise failure.UsageError(f"{name}: is not text") from err


def split_object(text: str) -> tuple[str, str]:
    """Split ``Deployment/web`` into kind and name.

    Raises:
        failure.UsageError: it is not of that form.
    """
    kind, slash, name = text.partition("/")
    if not (kind and slash and name):
        raise failure.UsageError(f"{text!r} is no KIND/NAME, as in Deployment/web")
    names.check(name)
    return kind, name


def object_of(words: Sequence[str]) -> tuple[str, str]:
    """Read ``KIND NAME``, ``KIND/NAME`` or ``source git NAME`` into kind and name.

    Raises:
        failure.UsageError: they name no object, or several.
    """
    rest = list(words)
    if rest and rest[0].lower() in {"source", "sources"}:
        rest.pop(0)
    if len(rest) == 1:
        return split_object(rest[0])
    if len(rest) != 2:
        raise failure.UsageError("name one object, as in: kustomization apps")
    names.check(rest[1])
    return rest[0], rest[1]
