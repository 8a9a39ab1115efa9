"""What calls share: clusters opened once, one writer at a time, a choice for each session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from daemon import settings
from inspection import failure
from kube.connection import AuthError
from mcp_server.desk import Call, Desk, Session

if TYPE_CHECKING:
    from pathlib import Path

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk with a cluster that does not answer and one without a kubeconfig."""
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    loaded = settings.parse(
        f'[daemon]\ndata_dir = "{tmp_path}/data"\n'
        f'[[clusters]]\nname = "home"\nkubeconfig = "{tmp_path}/kubeconfig"\n'
        f'[[clusters]]\nname = "away"\nkubeconfig = "{tmp_path}/nowhere"\n',
        "config.toml",
    )
    return Desk(tmp_path / "config.toml", loaded)


async def tell_nobody(done: float, total: float | None, text: str) -> None:
    del done, total, text


def call(desk: Desk, session: Session) -> Call:
    return Call(desk, session, tell_nobody)


async def test_cluster_is_opened_once_for_all_calls(desk: Desk) -> None:
    async with desk:
        first, second = await desk.site("home"), await desk.site("home")

    assert first is second


async def test_cluster_without_a_kubeconfig_is_tried_again_by_the_next_call(desk: Desk) -> None:
    async with desk:
        for _ in range(2):
            with pytest.raises(AuthError, match="nowhere"):
                await desk.site("away")
        assert (await desk.site("home")).name == "home"


async def test_session_chooses_for_calls_that_name_no_cluster(desk: Desk) -> None:
    async with desk:
        chosen = call(desk, Session(cluster="home"))
        assert (await chosen.site("")).name == "home"
        with pytest.raises(failure.UsageError, match="say which cluster"):
            await call(desk, Session()).site("")
        with pytest.raises(failure.UsageError, match="no cluster is named 'hme'; known: home"):
            await chosen.site("hme")


async def test_second_write_to_the_same_object_is_refused_while_the_first_runs(desk: Desk) -> None:
    started, may_end = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with desk.writing("home: ConfigMap/shop/a"):
            started.set()
            await may_end.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        await started.wait()
        with pytest.raises(failure.RefusedError, match="another call is writing to home: Config"):
            async with desk.writing("home: ConfigMap/shop/a"):
                pytest.fail("two write at once")
        async with desk.writing("home: ConfigMap/shop/b"):
            may_end.set()
    async with desk.writing("home: ConfigMap/shop/a"):
        pass


async def test_write_that_fails_leaves_the_way_free(desk: Desk) -> None:
    with pytest.raises(RuntimeError):
        async with desk.writing("a"):
            raise RuntimeError
    async with desk.writing("a"):
        pass


async def test_daemon_that_is_down_is_no_error(desk: Desk) -> None:
    assert await desk.daemon() is None
    assert await desk.drifts() is None
    assert await asyncio.to_thread(desk.commit, "0" * 40) is None
