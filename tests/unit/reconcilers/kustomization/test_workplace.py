"""Where builds are made: what a killed process left behind goes before anything new is made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconcilers.kustomization.workplace import Workplace
from runtime.limits import Processes, Threads
from runtime.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path


async def test_nobody_builds_before_what_was_left_behind_is_gone(tmp_path: Path) -> None:
    left = tmp_path / "build-left"
    left.mkdir()
    for number in range(200):
        (left / str(number)).touch()
    threads = Threads()
    workplace = Workplace(tmp_path, None, Processes(Metrics()), threads)

    async def build(name: str) -> bool:
        await workplace.clean()
        is_clean = not left.exists()
        taken = await workplace.take(name, is_private=False)
        return is_clean and taken.directory.is_dir()

    async with asyncio.TaskGroup() as group:
        builds = [group.create_task(build(f"build {number}")) for number in range(4)]
    assert all(each.result() for each in builds)
    await threads.aclose()
