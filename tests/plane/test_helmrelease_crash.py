"""A daemon that is killed in the middle of a release: nothing stays stuck, nothing is orphaned."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from api import meta
from reconcilers.kustomization.private import PrivateFolders
from tests.support import helmcharts, releaser
from tests.support.releaser import gone, ready, unready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")
KILLS = 20
OBJECTS = 12
TEMPLATE = """\
{{- range $number := until 12 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $.Values.prefix }}-{{ $number }}
data: {revision: {{ $.Release.Revision | quote }}}
{{- end }}
"""


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        files = {"templates/all.yaml": TEMPLATE, "values.yaml": "prefix: a\n"}
        await running.push(helmcharts.pack("demo", files))
        yield running


async def test_twenty_kills_leave_one_release_and_no_orphan(world: World, namespace: str) -> None:
    rng = random.Random(11)
    for number in range(KILLS):
        await world.release("demo", values={"prefix": f"p{number % 3}"})
        # A write of a release costs a few requests; the kill comes after any one of them.
        await world.ended_after(rng.randrange(1, 45))
    item = await world.until("demo", ready)
    assert any(each.reason == "PendingRelease" for each in world.events), "nothing was hit"
    left = [
        obj["metadata"]["name"]
        for obj in await releaser.listed(world, "configmaps", f"{meta.HELM_OWNER_NAME}=demo")
    ]
    prefix = f"p{(KILLS - 1) % 3}"
    assert sorted(left) == sorted(f"{prefix}-{number}" for number in range(OBJECTS))
    history = world.history("demo")
    assert [status for _, status in history].count("deployed") == 1
    assert history[-1] == (item.status.history[0].version, "deployed")
    await world.delete("demo")
    await world.until("demo", gone)
    assert await releaser.listed(world, "configmaps", f"{meta.HELM_OWNER_NAME}=demo") == []
    assert world.history("demo", namespace) == []


async def test_what_a_killed_helm_left_goes_although_nothing_is_rendered(world: World) -> None:
    folders = PrivateFolders(world.context.data_dir / "helm" / "helm")
    left = await asyncio.to_thread(folders.make)
    (left / "documents").write_text("kind: Secret")
    await world.release("demo", chartRef={"kind": "OCIRepository", "name": "nowhere"})
    await world.until("demo", unready("ArtifactFailed"))
    assert not left.exists()
