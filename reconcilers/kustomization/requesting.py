"""From a Kustomization and its source's content to what the builder is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconcilers.kustomization import build, keys, manifest, planning, variables

if TYPE_CHECKING:
    from api.kustomize import Kustomization
    from api.meta import ObjectRef
    from reconcilers.context import ClusterContext
    from reconcilers.kustomization.planning import Request
    from reconcilers.kustomization.store import Store
    from reconcilers.kustomization.workplace import Workplace
    from sources.tree import Tree

_LONGEST: Final = 200
"""Characters of a file name that every file system takes, with room for a suffix."""


async def request(context: ClusterContext, item: Kustomization, tree: Tree) -> Request:
    """Return the request that builds a Kustomization; the daemon and the commands share it.

    Args:
        context: the cluster, where what the spec refers to is read.
        item: the Kustomization.
        tree: the content of its source.

    Raises:
        TransientError: an object that the spec refers to, and that is not optional, cannot be read.
    """
    return planning.Request(
        file_name(item.ref(context.name)),
        tree,
        item.spec,
        manifest.finish_of(item),
        await variables.gather(context, item),
        await keys.gather(context, item),
    )


def builder(context: ClusterContext, builds: Store, workplace: Workplace) -> build.Builder:
    """Return a builder under the settings as they are now.

    Args:
        context: the cluster.
        builds: keeps the results.
        workplace: makes build directories and decrypts.
    """
    return build.Builder(
        builds,
        context.threads,
        context.processes,
        tools=context.tools,
        settings=context.settings,
        workplace=workplace,
    )


def file_name(ref: ObjectRef) -> str:
    """Return a name for the build's file; a namespace holds no dot, so it is unique."""
    name = f"{ref.namespace}.{ref.name}"
    return name if len(name) <= _LONGEST else planning.hash_of(name)
