"""``gitopsd build``: print what a Kustomization's source builds to, in the order of applying."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import orjson

from cli import access, building, settings
from inspection import rendering, workshop
from kube import fielddiff, manifests, stages
from reconcilers.kustomization import store

if TYPE_CHECKING:
    import argparse

    from kube.desired import Desired
    from reconcilers.kustomization.store import Build


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    building.add_options(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the objects as they would be sent, owner labels included."""
    loaded, cluster, wanted = settings.load(args), access.the_one(args), building.wanted(args)

    async def main() -> bytes:
        async with workshop.opened(settings.path(args), loaded, cluster) as context:
            rendered = await rendering.render(context, loaded, wanted)
            return await context.threads.run(
                text,
                rendered.build,
                context.settings.custom_stages,
                shows_secrets=args.show_secrets,
            )

    with access.explained(cluster):
        output = access.run(main())
    sys.stdout.write(output.decode("utf-8", "surrogateescape"))
    sys.stdout.flush()
    return 0


def text(build: Build, custom_stages: frozenset[str], *, shows_secrets: bool) -> bytes:
    """Return a build as a stream of YAML documents. Blocking: reads the build."""

    def order(each: Desired) -> tuple[object, ...]:
        return stages.stage_of(each.id, custom_stages), stages.sort_key(each.id)

    documents = []
    with store.Reader(build) as reader:
        for each in sorted(build.desired, key=order):
            obj = orjson.loads(reader.read(each))
            shown = obj if shows_secrets else fielddiff.masked_object(obj)
            documents.append(b"---\n" + manifests.dump(_readable(shown)))
    return b"".join(documents)


def _readable(obj: dict[str, object]) -> dict[str, object]:
    """Put the fields that say what an object is first."""
    first = ("apiVersion", "kind", "metadata")
    return {key: obj[key] for key in first if key in obj} | obj
