"""``gitopsd diff``: what applying a Kustomization or a HelmRelease would create, change and prune.

Nothing is written. Exit statuses: 0 nothing would change, 1 something would, 2 there is no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cli import access, building, colours, diff_text, settings
from inspection import failure, plan, releases, rendering, workshop
from kube import preview
from kube.preview import Outcome

if TYPE_CHECKING:
    import argparse

    from kube.preview import Preview


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    building.add_options(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def execute(args: argparse.Namespace) -> int:
    """Print what would happen."""
    try:
        return _execute(args)
    except failure.CommandError as err:
        raise failure.NoAnswerError(str(err)) from err


def _execute(args: argparse.Namespace) -> int:
    loaded, cluster, wanted = settings.load(args), access.the_one(args), building.wanted(args)

    async def main() -> tuple[diff_text.Subject, list[Preview]]:
        async with workshop.opened(settings.path(args), loaded, cluster) as context:
            if isinstance(wanted, releases.Wanted):
                release = await releases.render_release(context, loaded, wanted)
                return release, await releases.look(context, release)
            rendered = await rendering.render(context, loaded, wanted)
            return rendered, await plan.look(context, rendered)

    with access.explained(cluster):
        rendered, found = access.run(main())
    if not args.show_secrets:
        found = [plan.masked(each) for each in found]
    if args.output == "json":
        print(msgspec.json.encode(diff_text.as_json(cluster.name, rendered, found)).decode())
    else:
        print(diff_text.render(rendered, found, is_coloured=colours.are_wanted()))
    if any(each.outcome is Outcome.REFUSED for each in found):
        return failure.NoAnswerError.status
    return int(any(each.outcome not in preview.QUIET for each in found))
