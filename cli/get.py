"""``gitopsd get``: Flux objects as the flux CLI lists them, of one or all clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import access, get_text, options
from daemon import kinds as served
from inspection import failure, kinds, survey

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from daemon.kinds import Kind
    from inspection.flux import FluxObject
    from inspection.survey import Survey
    from kube.client import Client

_ALL = "all"
_SOURCES = frozenset({"source", "sources"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "what", nargs="+", metavar="KIND [NAME...]", help=f"all | sources | {kinds.USAGE}"
    )
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    parser.add_argument(
        "-o", "--output", choices=get_text.FORMATS, default="table", help="how to print them"
    )
    parser.add_argument("-w", "--watch", action="store_true", help="go on and print what changes")
    parser.add_argument(
        "--status-selector", default="", metavar="TYPE=STATUS", help="as in ready=false"
    )
    parser.add_argument("-l", "--selector", default="", help="labels, as in app=web,tier!=db")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the objects; fails when there are none, or when a cluster did not answer."""
    wanted, names = chosen(args.what)
    condition = status_selector(args.status_selector)
    namespace = "" if args.all_namespaces else args.namespace

    async def read(client: Client) -> Survey:
        return await survey.take(client, wanted, namespace, args.selector)

    answers, is_whole = access.ask(args, read)
    found = [
        obj
        for _, seen in answers
        for obj in seen.objects.values()
        if is_wanted(obj, names, condition)
    ]
    layout = get_text.Layout(
        with_cluster=len(access.chosen(args)) > 1,
        with_namespace=args.all_namespaces,
        is_wide=args.output == "wide",
        by_kind=len(wanted) > 1,
        is_single=len(names) == 1,
    )
    get_text.print_all(found, args.output, layout)
    _tell_unread(answers)
    if args.watch:
        from cli import get_watch  # what watches need, and nothing else does

        get_watch.follow(args, wanted, namespace, lambda obj: is_wanted(obj, names, condition))
        return 0
    _check(args, wanted, names, found)
    return 0 if is_whole else 1


def chosen(what: Sequence[str]) -> tuple[tuple[Kind, ...], list[str]]:
    """Return the kinds and the names that the words of a command line mean.

    Raises:
        failure.UsageError: they name no kind.
    """
    words = [each.lower() for each in what]
    if words == [_ALL]:
        return served.ALL, []
    if words[0] in _SOURCES and words[1:] in ([], [_ALL]):
        return kinds.sources(), []
    kind, names = kinds.parse(what)
    return (kind,), names


def status_selector(text: str) -> tuple[str, str] | None:
    """Read ``ready=false`` into the type and the status of a condition.

    Raises:
        failure.UsageError: it is not of that form.
    """
    if not text:
        return None
    type_, equals, status = text.partition("=")
    if not equals or status.capitalize() not in {"True", "False", "Unknown"}:
        raise failure.UsageError(f"--status-selector {text}: write ready=false, or another type")
    return type_.lower(), status.capitalize()


def is_wanted(obj: FluxObject, names: Sequence[str], condition: tuple[str, str] | None) -> bool:
    """Tell whether an object is one of those that were asked for."""
    if names and obj.name not in names:
        return False
    if condition is None:
        return True
    conditions = obj.status.get("conditions") or ()
    held = {str(each.get("type", "")).lower(): str(each.get("status")) for each in conditions}
    return held.get(condition[0], "False") == condition[1]


def _tell_unread(answers: Sequence[tuple[str, Survey]]) -> None:
    """Say which kinds could not be listed; raise where that is all there was."""
    unread = [
        f"cluster {name}: {kind}: {reason}"
        for name, seen in answers
        for kind, reason in seen.unread.items()
    ]
    if unread:
        raise failure.CommandError("\n".join(unread))


def _check(
    args: argparse.Namespace,
    wanted: Sequence[Kind],
    names: Sequence[str],
    found: Sequence[FluxObject],
) -> None:
    """Fail where something that was asked for is not there.

    Raises:
        failure.CommandError: the message names it and where it was looked for.
    """
    missing = sorted(set(names) - {obj.name for obj in found})
    if found and not missing:
        return
    where = "any namespace" if args.all_namespaces else f"namespace {args.namespace}"
    hint = "" if args.all_namespaces else "; -A looks in all of them"
    what = wanted[0].name if len(wanted) == 1 else "Flux objects"
    named = f" {', '.join(missing)}" if missing else ""
    raise failure.CommandError(f"no {what}{named} in {where}{hint}")
