"""``gitopsd build``: print what a Kustomization or a HelmRelease makes, as it is applied."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import orjson

from cli import access, building, settings
from inspection import releases, rendering, workshop
from kube import fielddiff, manifests, stages
from reconcilers.helmrelease import objects
from reconcilers.kustomization import store

if TYPE_CHECKING:
    import argparse

    from kube.desired import Desired
    from kube.helm.record import Record
    from reconcilers.kustomization.store import Build


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    building.add_options(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the objects as they would be sent, owner labels included."""
    loaded, cluster, wanted = settings.load(args), access.the_one(args), building.wanted(args)

    async def main() -> bytes:
        async with workshop.opened(settings.path(args), loaded, cluster) as context:
            if isinstance(wanted, releases.Wanted):
                release = await releases.render_release(context, loaded, wanted)
                return await context.threads.run(
                    release_text, release.record, shows_secrets=args.show_secrets
                )
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


def release_text(record: Record, *, shows_secrets: bool) -> bytes:
    """Return the objects of a release and, behind them, its hooks as YAML documents. Blocking."""
    hooks = [
        (f"# Hook: {', '.join(hook.events or ())}\n", objects.of_hook(hook))
        for hook in record.hooks
    ]
    documents = []
    for note, obj in [*(("", each) for each in objects.of_record(record)), *hooks]:
        shown = obj if shows_secrets else fielddiff.masked_object(obj)
        documents.append(b"---\n" + note.encode() + manifests.dump(_readable(shown)))
    return b"".join(documents)


def _readable(obj: dict[str, object]) -> dict[str, object]:
    """Put the fields that say what an object is first."""
    first = ("apiVersion", "kind", "metadata")
    return {key: obj[key] for key in first if key in obj} | obj
