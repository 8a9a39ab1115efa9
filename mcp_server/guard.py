"""Keeps writes away from what Flux manages, and names what to change in Git instead."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from inspection import failure, flux, gitfile, masking
from kube.objects import ObjectId

if TYPE_CHECKING:
    from kube.objects import JsonObject
    from mcp_server.desk import Call, Site


async def check(call: Call, site: Site, obj: JsonObject, *, override: str) -> None:
    """Refuse a write to an object that Flux applied.

    Args:
        call: the call.
        site: the cluster.
        obj: the live object.
        override: which argument allows it all the same.

    Raises:
        failure.RefusedError: Flux manages it; the message names the applier and the Git file.
    """
    owner = flux.owner(obj.get("metadata") or {}, site.name)
    if owner is None:
        return
    name = ObjectId.of(obj)
    where = await _in_git(call, site, owner_of=name, applier=str(owner))
    raise failure.RefusedError(
        f"{name} is managed by Flux: {owner} applied it and puts it back as Git says. "
        f"{where} Or pass {override}=true to write it all the same, knowing that the change "
        "lasts until the next reconcile."
    )


async def _in_git(call: Call, site: Site, *, owner_of: ObjectId, applier: str) -> str:
    """Return what to change in Git."""
    found = await call.survey(site)
    by_name = {str(each.ref): each for each in found.objects.values()}
    obj = by_name.get(applier)
    source = found.get(obj.source) if obj and obj.source else None
    if obj is None or source is None:
        return "Change it at its source."
    url = masking.text(str(source.spec.get("url") or source.spec.get("endpoint") or source.ref))
    files = await asyncio.to_thread(_files, call, obj, source, owner_of)
    if files:
        return f"Change {' or '.join(files)} in {url} ({source.revision})."
    folder = obj.path or "the root"
    return f"Change what declares it below {folder} in {url} ({source.revision})."


def _files(
    call: Call, applier: flux.FluxObject, source: flux.FluxObject, obj: ObjectId
) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory(prefix="gitopsd-") as scratch:
        return gitfile.find(call.desk.settings.data_dir, Path(scratch), applier, source, obj)
