"""What ``gitopsd status`` costs before it says a word: counted, since times depend on the machine.

It asks the daemon over a Unix socket and prints: no TLS, no HTTP library, no event loop, no YAML.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon import control, report

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
MOST_MODULES = 140
"""Beyond what Python itself imports at its start. There are 124; it was 280 with http.client."""
HEAVY = frozenset({"aiohttp", "asyncio", "dulwich", "email", "http", "kube", "mcp", "ssl", "yaml"})
COUNT = (
    "import sys; before = set(sys.modules); from cli.main import main; status = main(sys.argv[1:])"
    "; names = sorted(set(sys.modules) - before); print(status, *names, file=sys.stderr)"
)
ROW = report.Row(kind="Kustomization", namespace="flux-system", name="apps", ready="True")
REPORT = report.Report(
    version="1",
    pid=1,
    started="2026-01-01T00:00:00Z",
    memory_bytes=1,
    config="c.toml",
    clusters=(report.ClusterState(name="home", state="synced", rows=(ROW,)),),
)

pytestmark = pytest.mark.blocking("the daemon's side of the socket runs in a thread with a loop")


@contextmanager
def daemon(path: Path) -> Iterator[None]:
    """Answer at a control socket with the daemon's own code."""
    opened, loop = threading.Event(), asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        socket = control.Control(path, lambda: REPORT, lambda: "")
        await socket.open()
        opened.set()
        await done.wait()
        await socket.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert opened.wait(30)
        yield
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


@pytest.fixture
def config() -> Iterator[Path]:
    """A configuration with one cluster, in a folder whose name is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="st") as folder:
        file = Path(folder) / "config.toml"
        cluster = '[[clusters]]\nname = "home"\nkubeconfig = "/nowhere"\n'
        file.write_text(f'[daemon]\ndata_dir = "{folder}"\n{cluster}')
        yield file


def run(config: Path, *options: str) -> tuple[str, int, set[str]]:
    """Return what was printed, the status, and what was imported for it."""
    argv = [sys.executable, "-c", COUNT, "status", "--config", str(config), *options]
    done = subprocess.run(argv, check=True, cwd=ROOT, capture_output=True, text=True)
    status, *names = done.stderr.split()
    return done.stdout, int(status), set(names)


def test_running_daemon_is_asked_with_few_modules(config: Path) -> None:
    with daemon(config.parent / "control.sock"):
        printed, status, names = run(config)

    assert status == 0
    assert "cluster home: synced" in printed
    assert not {name.partition(".")[0] for name in names} & HEAVY
    assert len(names) <= MOST_MODULES, sorted(names)


def test_json_costs_no_more_than_text(config: Path) -> None:
    with daemon(config.parent / "control.sock"):
        printed, _, names = run(config, "-o", "json")

    assert '"name":"apps"' in printed
    assert len(names) <= MOST_MODULES, sorted(names)


def test_without_a_daemon_neither_stores_nor_servers_are_imported(config: Path) -> None:
    printed, status, names = run(config)

    assert status == 1
    assert "NOT RUNNING" in printed
    assert not {name.partition(".")[0] for name in names} & {"dulwich", "mcp", "tenacity"}
    assert "aiohttp.web" not in names
