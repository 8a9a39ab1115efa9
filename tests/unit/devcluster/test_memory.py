"""Memory of processes, and of what they start."""

from __future__ import annotations

import os
import subprocess
import sys

from devcluster import memory

_CHILD = "import sys; block = bytearray(64 * 2**20); print('up', flush=True); sys.stdin.read()"


def test_own_memory_is_plausible() -> None:
    assert 10 < memory.resident_mib([os.getpid()]) < 4000


def test_process_that_is_gone_counts_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert memory.resident_mib([gone.pid]) == 0


def test_peak_sees_a_child_of_a_child() -> None:
    with memory.Peak([os.getpid()]) as peak:
        script = f'{sys.executable} -c "{_CHILD}"; true'
        child = subprocess.Popen(
            ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdout
        child.stdout.readline()
        while peak.children_mib < 64:
            assert child.poll() is None
        child.communicate()
    assert peak.children_mib > 64
