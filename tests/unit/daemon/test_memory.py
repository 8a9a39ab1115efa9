from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from daemon import memory

ROOT = Path(__file__).parents[3]
IMPORT_MIB = 75


def test_resident_set_is_this_process_s() -> None:
    assert 5 * 2**20 < memory.resident_bytes() < 4 * 2**30


def test_freezing_hides_what_is_there_from_the_collector() -> None:
    before = gc.get_freeze_count()
    try:
        memory.freeze()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


def test_giving_back_works_on_every_platform() -> None:
    memory.limit_arenas()
    memory.give_back()


def test_daemon_imports_nothing_heavy_and_stays_small() -> None:
    script = (
        "import sys, daemon.main\n"
        "from daemon import memory\n"
        "heavy = {'pydantic', 'requests', 'httpx', 'jwt', 'kubernetes_asyncio.client.models',"
        " 'dulwich.porcelain', 'cryptography'}\n"
        "print(sorted(heavy & set(sys.modules)), memory.resident_bytes() // 2**20)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    found, size = done.stdout.rsplit(" ", 1)
    assert found == "[]"
    assert int(size) <= IMPORT_MIB
