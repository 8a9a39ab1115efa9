"""What a thousand objects cost: in requests exactly, in time with room for a busy machine."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import kustomizer
from tests.support.kustomizer import applied, config_map

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.access import Access

NUMBER = 1000


@pytest.mark.timeout(240)
async def test_thousand_objects_cost_what_changes_and_nothing_else(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        files = {f"{n}.yaml": config_map(f"cm{n}", namespace, k="1") for n in range(NUMBER)}
        await world.push(files)
        marks = [("start", time.perf_counter(), world.requests())]

        def mark(name: str) -> None:
            marks.append((name, time.perf_counter(), world.requests()))

        await world.kustomize("apps")
        await world.until("apps", applied(world.revision))
        mark("first apply")
        await world.context.tracker.synced(world.ref("apps"))

        await world.push({"7.yaml": config_map("cm7", namespace, k="2")})
        mark("commit")
        await world.until("apps", applied(world.revision))
        mark("push of one change")

        world.controller.wake(world.ref("apps"), "interval")
        await world.idle("apps")
        mark("nothing to do")

        await world.push({"8.yaml": None})
        mark("commit")
        await world.until("apps", applied(world.revision))
        mark("push of a deletion")
        spent = {}
        for (_, before, sent), (name, after, now) in itertools.pairwise(marks):
            new = {key: now[key] - sent.get(key, 0) for key in now if now[key] != sent.get(key, 0)}
            spent[name] = (after - before, new)
            print(f"{name}: {after - before:.3f} s {new}")
        assert spent["first apply"][1][("patch", "kustomizations")] <= 8
        assert spent["push of one change"][1] == {
            ("apply", "configmaps"): 1,
            ("patch", "kustomizations"): 1,
        }
        assert spent["nothing to do"][1] == {}
        assert spent["push of a deletion"][1] == {
            ("get", "configmaps"): 1,
            ("delete", "configmaps"): 1,
            ("patch", "kustomizations"): 1,
        }
