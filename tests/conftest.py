"""Fixtures of every layer: the session's cluster, a namespace a test, checks for leftovers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import shutil
import signal
import subprocess
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blockbuster import BlockBuster

from api import schema
from devcluster import access
from devcluster.api import Api, Credentials
from devcluster.cluster import Cluster
from devcluster.gitserver import GitServer
from tests.support import api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support import s3

CONTROLLERS_OWN = ("serviceaccounts/default", "configmaps/kube-root-ca.crt")
"""What kube-controller-manager puts into a new namespace, in its own time."""
_OURS = ["api", "runtime", "kube", "sources", "notify", "reconcilers", "daemon", "inspection"]
_running: list[Cluster] = []


def pytest_configure(config: pytest.Config) -> None:
    # Before 3.12 asking for the current loop makes one where none was ever set; pytest-asyncio
    # asks, and nobody closes that loop. Having set none, once, ends this.
    asyncio.set_event_loop(None)
    # A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that:
    # what the tests interrupt would never hear of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "blocking(reason): the event loop may block in this test")
    config.addinivalue_line(
        "markers", "leftovers(reason): this test leaves processes or tasks on purpose"
    )


def pytest_collection() -> None:
    gc.disable()  # thousands of tests are being made, and none is garbage


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()  # they stay to the end: each full collection would look at all of them


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real control plane for this session, with ports and a folder of its own.

    ``GITOPSD_TEST_KUBECONFIG`` puts the tests on an existing cluster instead; what stops and starts
    API servers or needs other users then fails, because there is no way to do it there.
    """
    directory = tmp_path_factory.mktemp("cluster")
    found = access.existing(directory)
    if found:
        yield found  # type: ignore[misc]  # all that most tests use
        return
    with Cluster(directory) as started:
        _running.append(started)
        yield started
        _running.remove(started)
    shutil.rmtree(directory / "etcd", ignore_errors=True)


@pytest.fixture(scope="session")
def admin(cluster: Cluster) -> Iterator[Api]:
    """A plain connection to the session's cluster with every right, quicker than kubectl."""
    connection = Api(Credentials(cluster.kubeconfig))
    yield connection
    connection.close()


@pytest.fixture
def namespace(admin: Api) -> Iterator[str]:
    """The name of a fresh namespace to which nobody else adds anything more.

    It stays, with all but its Flux objects, until the cluster goes: emptying a namespace costs the
    API server a hundred requests, which was half of what all tests together asked of it.
    """
    name = f"test-{uuid.uuid4().hex[:10]}"
    path = f"/api/v1/namespaces/{name}"
    admin.post("/api/v1/namespaces", {"metadata": {"name": name}})
    if access.has_program("kube-controller-manager"):
        for each in CONTROLLERS_OWN:
            admin.wait(f"{path}/{each}", lambda obj: obj is not None, api.WAIT_S)
    yield name
    for kind in schema.KINDS:
        admin.delete(f"/apis/{kind.api_version()}/namespaces/{name}/{kind.PLURAL}")


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A Git server over HTTP that asks for no credentials."""
    with GitServer(tmp_path / "git") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    """An S3-compatible server that verifies signatures, for this session."""
    from tests.support import s3

    with s3.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(autouse=True)
def leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a task, thread or child process behind, or blocks the loop."""
    if request.node.get_closest_marker("leftovers"):
        yield
        return
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("_no_leftover_tasks")
        if not request.node.get_closest_marker("blocking"):
            request.getfixturevalue("_no_blocking")
    threads, children = set(threading.enumerate()), _children()
    yield
    late = [thread for thread in set(threading.enumerate()) - threads if not _ends(thread)]
    assert not late, f"threads left behind: {late}"
    # A session fixture may have been made, or an API server restarted, meanwhile.
    known = {pid for each in _running for pid in each.all_pids}
    assert not (left := _children() - children - known), f"child processes left behind: {left}"


@pytest.fixture
async def _no_leftover_tasks() -> AsyncIterator[None]:
    yield
    # A cancelled watch leaves its TLS connection to the loop, which waits for the server's answer
    # to the end of it. No test shall, nor shall a later one hear of it from the garbage collector.
    loop: Any = asyncio.get_running_loop()
    for transport in tuple(loop._transports.values()):
        transport.abort()
    await asyncio.sleep(0)  # one turn, for what has just been cancelled
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not tasks, f"tasks left behind: {tasks}"


@pytest.fixture
def _no_blocking() -> Iterator[None]:
    guard = BlockBuster(scanned_modules=_OURS)
    guard.activate()
    yield
    guard.deactivate()


def _ends(thread: threading.Thread) -> bool:
    """Give a thread a second to end; the loop's own executor ends with the loop, after us."""
    if thread.name.startswith("asyncio_"):
        return True
    thread.join(1.0)
    return not thread.is_alive()


def _children() -> set[int]:
    tasks = Path("/proc/self/task")
    if tasks.is_dir():
        found: set[int] = set()
        for task in tasks.iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that ended just now
                found.update(int(pid) for pid in (task / "children").read_text().split())
        return found
    ps = subprocess.Popen(["ps", "-axo", "pid=,ppid="], stdout=subprocess.PIPE, text=True)
    rows = [line.split() for line in ps.communicate()[0].splitlines()]
    return {int(pid) for pid, parent in rows if int(parent) == os.getpid() and int(pid) != ps.pid}
