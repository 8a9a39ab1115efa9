"""``gitopsd debug``: why an object is not ready: the first cause, what shows it, what to do.

Exit statuses: 0 it is ready, 1 it is not, 2 there is no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cli import access, colours, debug_more, options
from inspection import diagnosis, failure, named, survey
from kube.discovery import Discovery
from runtime import clock

if TYPE_CHECKING:
    import argparse

    from inspection.diagnosis import Diagnosis
    from kube.objects import JsonObject


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND NAME", help="any kind of object")
    parser.add_argument("--api-version", default="", help="where several groups have the kind")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--show-status", action="store_true", help="print its status as YAML")
    parser.add_argument("--show-history", action="store_true", help="print what it went through")
    parser.add_argument(
        "--show-vars", action="store_true", help="print the variables of a Kustomization"
    )
    parser.add_argument("--show-secrets", action="store_true", help="... values of Secrets too")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the cause, or the parts that were asked for."""
    cluster = access.the_one(args)
    kind, name = options.object_of(args.what)

    async def main() -> tuple[JsonObject, Diagnosis, str]:
        async with access.client(cluster) as client:
            discovery = Discovery(client, clock.SystemClock())
            body = await named.read(client, discovery, kind, name, args.namespace, args.api_version)
            found = await survey.take(client)
            now = clock.SystemClock().now()
            result = await diagnosis.Examiner(client, discovery, found, now).explain(body)
            variables = await debug_more.variables(client, body, args) if args.show_vars else ""
            return body, result, variables

    with access.explained(cluster):
        try:
            body, result, variables = access.run(main())
        except failure.CommandError as err:
            raise failure.NoAnswerError(str(err)) from err
    parts = debug_more.parts(body, args, variables)
    if parts:
        print(parts, end="")
    elif args.output == "json":
        print(msgspec.json.encode(result).decode())
    else:
        print(render(result))
    return 0 if result.is_ready else 1


def render(found: Diagnosis) -> str:
    """Return a diagnosis for people."""
    if found.is_ready:
        return colours.paint(colours.GREEN, f"✔ {found.summary}")
    lines = [colours.paint(colours.RED, f"✗ {found.summary}"), f"  cause: {found.cause}"]
    lines += [
        "",
        *(f"  {_arrow(number)}{link.id} ({link.state})" for number, link in enumerate(found.chain)),
    ]
    lines += ["", "  what shows it:", *(f"    {each}" for each in found.evidence)]
    lines += ["", "  what to do:", *(f"    {each}" for each in found.remedies)]
    return "\n".join(lines)


def _arrow(number: int) -> str:
    return f"{'  ' * (number - 1)}└─ " if number else ""
