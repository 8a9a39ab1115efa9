"""Whole fleets on a real API server show what was recorded; see `tests.support.fleets`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from runtime import conditions
from tests.support import fleets, kustomizer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.kustomize import Kustomization
    from devcluster.access import Access
    from tests.support.kustomizer import World

FLEETS = sorted(each for each in (Path(__file__).parent / "fleets").iterdir() if each.is_dir())
REFUSED = {"tenants": {"red"}}
"""The Kustomizations that must fail."""


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running


def settled(revision: str, *, is_refused: bool) -> Any:
    """Tell a Kustomization that is done with a revision."""

    def is_settled(item: Kustomization | None) -> bool:
        if not is_refused:
            return kustomizer.applied(revision)(item)
        ready = conditions.get(item.status.conditions, meta.READY) if item else None
        attempted = item.status.last_attempted_revision if item else ""
        return ready is not None and ready.status == "False" and attempted == revision

    return is_settled


async def push(world: World, fleet: Path, folder: str, names: list[str]) -> dict[str, Any]:
    """Push files, wait until all have dealt with them, and return what is shown."""
    files = await asyncio.to_thread(fleets.files, fleet / folder, world.namespace)
    await world.push(files)
    for name in names:
        is_refused = name in REFUSED.get(fleet.name, ())
        await world.until(name, settled(world.revision, is_refused=is_refused))
    found = await fleets.shown(world, names)
    world.events.clear()
    return found


@pytest.mark.parametrize("fleet", FLEETS, ids=lambda each: each.name)
async def test_fleet_shows_what_was_recorded(world: World, fleet: Path) -> None:
    specs = fleets.specs(fleet, world.namespace)
    await world.put("Secret", "sops", None, **{"age.agekey": fleets.AGE.identity})
    for name, spec in specs.items():
        await world.kustomize(name, **spec)
    found = {"repo": await push(world, fleet, "repo", list(specs))}
    if (fleet / "then").is_dir():
        found["then"] = await push(world, fleet, "then", list(specs))
    for name in specs:
        await world.delete(name)
    for name in specs:
        await world.until(name, kustomizer.gone)
    file = fleet / "expected.json"
    if os.environ.get("GITOPSD_RECORD"):
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        await asyncio.to_thread(file.write_bytes, orjson.dumps(found, option=options))
    assert found == orjson.loads(await asyncio.to_thread(file.read_bytes))
