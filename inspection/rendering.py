"""Builds a Kustomization as the daemon would, with its code and in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from api.kustomize import Kustomization, Patch
from daemon import kinds as served
from daemon import tools
from inspection import content, failure, objects
from kube import errors
from reconcilers.kustomization import inputs, manifest, planning, requesting, store, workplace
from runtime.errors import GitOpsError

if TYPE_CHECKING:
    from daemon.settings import Settings
    from inspection.content import Wanted
    from reconcilers.context import ClusterContext
    from reconcilers.kustomization.store import Build


class Rendered(NamedTuple):
    """A Kustomization and what it wants."""

    item: Kustomization
    build: Build
    title: str
    """What was built, for people: a revision or a directory."""


async def render(context: ClusterContext, settings: Settings, wanted: Wanted) -> Rendered:
    """Build what is asked for.

    Raises:
        failure.CommandError: it cannot be built; the message says why.
    """
    item = _patched(await _item(context, wanted.namespace, wanted.name), wanted.patch)
    try:
        inputs.check_served(item)
        found = await content.find(context, settings, wanted, item)
        folder = context.data_dir / "builds"
        place = workplace.Workplace(folder, context.tools.sops, context.processes, context.threads)
        builder = requesting.builder(context, store.Store(folder), place)
        request = await requesting.request(context, found.item, found.tree)
        built = await builder.build(request)
    except manifest.BuildError as err:
        raise failure.CommandError(await _explained(context, settings, err)) from err
    except (planning.PathNotFound, workplace.DirectoryError, GitOpsError) as err:
        raise failure.CommandError(str(err)) from err
    except OSError as err:
        raise failure.CommandError(f"failed to read the source: {err}") from err
    return Rendered(item, built.build, found.title)


def _patched(item: Kustomization, patch: str) -> Kustomization:
    """Return a Kustomization with one patch more."""
    if not patch:
        return item
    patches = (*item.spec.patches, Patch(patch=patch))
    return msgspec.structs.replace(item, spec=msgspec.structs.replace(item.spec, patches=patches))


async def _explained(context: ClusterContext, settings: Settings, error: Exception) -> str:
    """Return what is wrong with a build; where it is a missing kustomize, how to get one."""
    if context.tools.kustomize is not None or "program was not found" not in str(error):
        return str(error)
    _, complaint = await tools.look(settings)
    return f"kustomize build failed: {complaint}"


async def _item(context: ClusterContext, namespace: str, name: str) -> Kustomization:
    try:
        found = await objects.get(context.client, served.KUSTOMIZATION, namespace, name)
    except errors.NotFound as err:
        raise failure.MissingError(
            f"Kustomization/{namespace}/{name} is not there; "
            "`gitopsd get kustomizations -A` lists those that are"
        ) from err
    if not isinstance(found, Kustomization):
        raise TypeError(found)
    return found
