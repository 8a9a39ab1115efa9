"""What ``build`` and ``diff`` have in common: which Kustomization, and from which content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli import options
from daemon import kinds as served
from inspection import content, failure, kinds

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add everything that ``build`` and ``diff`` have in common."""
    parser.add_argument("what", nargs="+", metavar="kustomization NAME", help="what to build")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--path",
        type=Path,
        metavar="DIR",
        help="a local directory to build in place of spec.path; bases may lie elsewhere in its "
        "Git repository",
    )
    group.add_argument(
        "--revision",
        metavar="REV",
        help="a branch, tag or commit of the source to build, fetched with its credentials",
    )
    parser.add_argument("--show-secrets", action="store_true", help="print the values of Secrets")
    options.add_namespace(parser)
    options.add_cluster(parser)


def wanted(args: argparse.Namespace) -> content.Wanted:
    """Return what a command line asks to build.

    Raises:
        failure.UsageError: it names no Kustomization, several, or another kind.
    """
    kind, names = kinds.parse(args.what)
    if kind is not served.KUSTOMIZATION:
        raise failure.UsageError(f"only a Kustomization can be built, not a {kind.name}")
    if len(names) != 1:
        raise failure.UsageError("name one Kustomization, as in: kustomization apps")
    return content.Wanted(args.namespace, names[0], args.path, args.revision)
