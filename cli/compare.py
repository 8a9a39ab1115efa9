"""``gitopsd compare``: how two clusters differ, or what one application owns in both.

Exit statuses: 0 they are the same, 1 they differ, 2 there is no answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from api import meta
from cli import access, colours, options, settings
from daemon import kinds as served
from daemon import report
from inspection import (
    builds,
    clusters,
    comparison,
    content,
    failure,
    kinds,
    live,
    survey,
    workshop,
)
from kube.discovery import Discovery
from runtime import clock

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from api.meta import ObjectRef
    from inspection.comparison import Comparison
    from inspection.survey import Survey
    from kube.client import Client
    from kube.objects import JsonObject, ObjectId

_LONGEST = 160


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("left", help="name of one cluster; with --paths a directory")
    parser.add_argument("right", help="name of the other cluster; with --paths a directory")
    parser.add_argument(
        "what", nargs="*", default=[], metavar="KIND [NAME]", help="objects of this kind only"
    )
    parser.add_argument(
        "--live", action="store_true", help="compare what the named object owns, field by field"
    )
    parser.add_argument(
        "--paths",
        action="store_true",
        help="compare two directories, built as the named Kustomization builds them",
    )
    parser.add_argument("--intervals", action="store_true", help="compare intervals too")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print what differs."""
    try:
        found = _compared(args)
    except failure.CommandError as err:
        raise failure.NoAnswerError(str(err)) from err
    if args.output == "json":
        print(msgspec.json.encode(found).decode())
    else:
        print("\n".join(render(found)))
    return 0 if found.is_same else 1


def _compared(args: argparse.Namespace) -> Comparison:
    if args.paths:
        return _directories(args)
    loaded, origin = settings.load(args), str(settings.path(args))
    left, right = (clusters.named(loaded, name, origin)[0] for name in (args.left, args.right))
    kind, names = kinds.parse(args.what) if args.what else (None, [])
    namespace = "" if args.all_namespaces else args.namespace
    if args.live:
        if kind is None or len(names) != 1:
            raise failure.UsageError("--live needs a KIND and a NAME: whose objects")
        ref = meta.ObjectRef("", kind.name, args.namespace, names[0])

        async def owned(client: Client) -> dict[ObjectId, JsonObject]:
            return await _owned(client, ref)

        here, there = _both(access.run(survey.ask((left, right), owned)))
        return comparison.of_objects(left.name, right.name, here, there)

    async def everything(client: Client) -> Survey:
        return await survey.take(client, [kind] if kind else None, namespace)

    first, second = _both(access.run(survey.ask((left, right), everything)))
    if names:
        first, second = (_only(each, names) for each in (first, second))
    return comparison.of_clusters(first, second, ignores_intervals=not args.intervals)


def _directories(args: argparse.Namespace) -> Comparison:
    """Build two directories for the same Kustomization and compare what comes out."""
    loaded, cluster = settings.load(args), access.the_one(args)
    kind, names = kinds.parse(args.what) if args.what else (None, [])
    if kind is not served.KUSTOMIZATION or len(names) != 1:
        raise failure.UsageError("--paths needs a Kustomization: compare A B --paths ks NAME")

    async def main() -> list[dict[ObjectId, JsonObject]]:
        async with workshop.opened(settings.path(args), loaded, cluster) as context:
            wanted = [
                content.Wanted(args.namespace, names[0], Path(each))
                for each in (args.left, args.right)
            ]
            return [await builds.objects(context, loaded, each) for each in wanted]

    with access.explained(cluster):
        here, there = access.run(main(), "building both directories")
    return comparison.of_objects(args.left, args.right, here, there)


def _both(answers: list[survey.Answer[access.T]]) -> tuple[access.T, access.T]:
    """Return the answers of both clusters.

    Raises:
        failure.CommandError: one of them has none.
    """
    values = []
    for each in answers:
        if each.value is None:
            raise failure.CommandError(f"cluster {each.cluster}: {each.error}")
        values.append(each.value)
    return values[0], values[-1]


def _only(found: Survey, names: list[str]) -> Survey:
    kept = [each for each in found.objects.values() if each.name in names]
    return survey.of(found.cluster, kept)


async def _owned(client: Client, wanted: ObjectRef) -> dict[ObjectId, JsonObject]:
    """Return the live objects that an applier owns."""
    ref = wanted._replace(cluster=client.cluster)
    obj = (await survey.take(client, [kinds.find(ref.kind)])).require(ref)
    discovery = Discovery(client, clock.SystemClock())
    return await live.several(client, discovery, obj.inventory)


def render(found: Comparison) -> Iterator[str]:
    """Yield the lines of a comparison."""
    if found.is_same:
        yield f"{found.left} and {found.right} are the same: {found.same} objects"
        return
    for name in found.only_left:
        yield colours.paint(colours.RED, f"- {name} is only in {found.left}")
    for name in found.only_right:
        yield colours.paint(colours.GREEN, f"+ {name} is only in {found.right}")
    for pair in found.differing:
        yield colours.paint(colours.YELLOW, f"~ {pair.id}")
        for each in pair.differences:
            yield f"    {each.field}: {_value(each.left)} | {_value(each.right)}"
    yield f"{found.left} | {found.right}: {len(found.differing)} differ, {found.same} are the same"


def _value(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    short = report.short_revision(" ".join(text.split()))
    return short if len(short) <= _LONGEST else f"{short[: _LONGEST - 1]}…"
