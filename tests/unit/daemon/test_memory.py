from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

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
        if before:
            gc.freeze()  # what the collection of the tests had frozen


def test_giving_back_works_on_every_platform() -> None:
    memory.limit_arenas()
    memory.give_back()


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is tuned")
def test_buffer_of_a_tls_read_is_not_mapped_anew_each_time() -> None:
    script = (
        "import resource\n"
        "from daemon import memory\n"
        "memory.limit_arenas()\n"
        "bytearray(256 * 1024)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(1000): bytearray(256 * 1024)[0:1]\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 500


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
