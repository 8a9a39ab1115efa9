"""What a Kustomization builds to from some content, as objects that can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from inspection import rendering
from reconcilers.kustomization import store

if TYPE_CHECKING:
    from daemon.settings import Settings
    from inspection.content import Wanted
    from kube.objects import JsonObject, ObjectId
    from reconcilers.context import ClusterContext
    from reconcilers.kustomization.store import Build


async def objects(
    context: ClusterContext, settings: Settings, wanted: Wanted
) -> dict[ObjectId, JsonObject]:
    """Return the objects that some content builds to.

    Raises:
        failure.CommandError: it cannot be built; the message says why.
    """
    rendered = await rendering.render(context, settings, wanted)
    return await context.threads.run(_read, rendered.build)


def _read(build: Build) -> dict[ObjectId, JsonObject]:
    """Read all of a build. Blocking."""
    with store.Reader(build) as reader:
        return {each.id: orjson.loads(reader.read(each)) for each in build.desired}
