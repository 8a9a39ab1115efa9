"""``gitopsd trace``: where an object comes from: who applied it, out of which source and commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cli import access, options, settings, table
from daemon import report
from inspection import commits, named, survey, trace
from kube.discovery import Discovery
from runtime import clock

if TYPE_CHECKING:
    import argparse

    from inspection.trace import Trace
    from kube.client import Client


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND NAME", help="as in deploy/web or ks apps")
    parser.add_argument("--api-version", default="", help="where several groups have the kind")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the way from an object to Git; fails when nobody manages it."""
    cluster = access.the_one(args)
    loaded = settings.load(args)
    kind, name = options.object_of(args.what)

    async def main() -> Trace:
        async with access.client(cluster) as client:
            return await find(client, args.api_version, kind, args.namespace, name)

    with access.explained(cluster):
        found = access.run(main())
    if found.commit:
        known = commits.find(loaded.data_dir, found.commit.sha)
        found = msgspec.structs.replace(found, commit=known or found.commit)
    if args.output == "json":
        print(msgspec.json.encode(found).decode())
    else:
        print(render(found))
    return 0 if found.is_managed else 1


async def find(client: Client, api_version: str, kind: str, namespace: str, name: str) -> Trace:
    """Trace one object.

    Raises:
        failure.CommandError: it is not there, or its kind is not served.
    """
    discovery = Discovery(client, clock.SystemClock())
    body = await named.read(client, discovery, kind, name, namespace, api_version)
    seen = await survey.take(client)
    return await trace.of_object(client, discovery, seen, body)


def render(found: Trace) -> str:
    """Return a trace as a table with the commit under it."""
    rows = [
        (
            step.role,
            step.title,
            step.state,
            report.short_revision(step.revision),
            " ".join(filter(None, (step.url, step.path))),
        )
        for step in found.steps
    ]
    lines = [table.render(("ROLE", "OBJECT", "STATUS", "REVISION", "FROM"), rows)]
    lines += [f"{step.title}: {step.message}" for step in found.steps if step.message]
    if found.commit:
        commit = found.commit
        lines.append(
            " ".join(filter(None, ("commit", commit.sha, commit.author, commit.time)))
            + (f"\n    {commit.subject}" if commit.subject else "")
        )
    if found.reached:
        lines += ["", _reached(found)]
    if found.note:
        lines.append(found.note)
    return "\n".join(lines)


def _reached(found: Trace) -> str:
    """Return who takes the content of a source, as a table."""
    rows = [
        (
            each.id,
            each.state,
            report.short_revision(each.revision),
            "yes" if each.is_there else "no",
            str(each.owns or ""),
        )
        for each in found.reached
    ]
    return table.render(("REACHES", "STATUS", "REVISION", "THERE", "OWNS"), rows)
