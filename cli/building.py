"""What ``build`` and ``diff`` have in common: which object, and from which content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli import options
from daemon import kinds as served
from inspection import content, failure, kinds, release_charts, releases

if TYPE_CHECKING:
    import argparse

    from kube.objects import JsonObject


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add everything that ``build`` and ``diff`` have in common."""
    parser.add_argument("what", nargs="+", metavar="KIND NAME", help="kustomization or helmrelease")
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
        help="a branch, tag or commit of the source to build, or a version of the chart in its "
        "HelmRepository; fetched with its credentials",
    )
    group.add_argument(
        "--chart",
        type=Path,
        metavar="PATH",
        help="a local chart, packed or as a directory, to render in place of a HelmRelease's own",
    )
    parser.add_argument(
        "--values",
        metavar="FILE",
        help="values to render with in place of a HelmRelease's spec.values; - is stdin",
    )
    parser.add_argument("--show-secrets", action="store_true", help="print the values of Secrets")
    options.add_namespace(parser)
    options.add_cluster(parser)


def wanted(args: argparse.Namespace) -> content.Wanted | releases.Wanted:
    """Return what a command line asks to build.

    Raises:
        failure.UsageError: it names nothing that can be built, several things, or content that
            their kind does not have.
    """
    kind, names = kinds.parse(args.what)
    if kind not in (served.KUSTOMIZATION, served.HELM_RELEASE):
        raise failure.UsageError(
            f"only a Kustomization or a HelmRelease can be built, not a {kind.name}"
        )
    if len(names) != 1:
        raise failure.UsageError(f"name one {kind.name}, as in: {kind.name.lower()} apps")
    is_release = kind is served.HELM_RELEASE
    others = (
        {"--path": args.path} if is_release else {"--chart": args.chart, "--values": args.values}
    )
    for option, given in others.items():
        if given is not None:
            raise failure.UsageError(f"{option} means nothing to a {kind.name}")
    if is_release:
        chart = release_charts.Wanted(args.chart, args.revision)
        return releases.Wanted(args.namespace, names[0], chart, _values(args.values))
    return content.Wanted(args.namespace, names[0], args.path, args.revision)


def _values(file: str | None) -> JsonObject | None:
    """Return the values of a file; None where none is named."""
    if file is None:
        return None
    return releases.read_values(options.read_file(file), f"--values {file}")
