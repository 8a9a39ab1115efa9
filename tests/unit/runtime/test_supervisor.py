"""How the supervisor restarts its children, and that they never take each other down."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

import pytest

from runtime.errors import TransientError
from runtime.supervisor import Phase, Supervisor

if TYPE_CHECKING:
    import random

    from runtime.clock import Clock
    from runtime.metrics import Metrics

pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.fixture
def supervisor(clock: Clock, rng: random.Random, metrics: Metrics) -> Supervisor:
    return Supervisor(clock, rng, metrics)


class Child:
    """Fails as often as it is told, then runs until it is stopped."""

    def __init__(self, *failures: Exception, lasting_s: float = 0) -> None:
        self.failures, self.lasting_s = list(failures), lasting_s
        self.starts: list[float] = []
        self.was_cancelled = False

    async def run(self) -> None:
        self.starts.append(asyncio.get_running_loop().time())
        if self.failures:
            await asyncio.sleep(self.lasting_s)
            raise self.failures.pop(0)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


async def test_failing_child_restarts_with_growing_delays(supervisor: Supervisor) -> None:
    child = Child(*[OSError("away")] * 9)
    async with supervisor:
        supervisor.start("home", child.run)
        await asyncio.sleep(400)
    for gap, nominal in zip(gaps(child.starts), [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.79 * nominal <= gap <= nominal + 0.01


async def test_child_that_ran_for_a_minute_starts_its_delays_anew(supervisor: Supervisor) -> None:
    child = Child(*[OSError("away")] * 3, lasting_s=61)
    async with supervisor:
        supervisor.start("home", child.run)
        await asyncio.sleep(300)
    assert all(gap <= 62.01 for gap in gaps(child.starts))


async def test_child_is_well_again_once_it_has_run_for_a_minute(supervisor: Supervisor) -> None:
    async with supervisor:
        supervisor.start("home", Child(OSError("away")).run)
        await asyncio.sleep(50)
        assert supervisor.state()["home"].error == "away"
        await asyncio.sleep(20)
        assert supervisor.state()["home"].error == ""


async def test_failure_of_one_child_is_not_heard_by_another(supervisor: Supervisor) -> None:
    good, bad = Child(), Child(*[OSError("away")] * 3)
    async with supervisor:
        supervisor.start("good", good.run)
        supervisor.start("bad", bad.run)
        await asyncio.sleep(100)
        assert not good.was_cancelled
    assert good.starts == [0]
    assert len(bad.starts) == 4


async def test_state_tells_where_each_child_stands(
    supervisor: Supervisor, metrics: Metrics
) -> None:
    async def finish() -> None:
        await asyncio.sleep(1)

    async with supervisor:
        supervisor.start("home", Child(OSError("no route to host")).run)
        supervisor.start("done", finish)
        await asyncio.sleep(0.5)
        state = supervisor.state()
        assert list(state) == ["home", "done"]
        assert state["home"].phase is Phase.BACKING_OFF
        assert state["home"].error == "no route to host"
        assert 0.3 <= state["home"].retry_in_s <= 0.5
        assert state["done"].phase is Phase.RUNNING
        await asyncio.sleep(1)
        state = supervisor.state()
        assert (state["home"].phase, state["home"].restarts) == (Phase.RUNNING, 1)
        assert state["home"].error == "no route to host"
        assert state["home"].retry_in_s == 0
        assert state["done"].phase is Phase.STOPPED
    assert (
        metrics.registry.get_sample_value("gitopsd_supervised_restarts_total", {"child": "home"})
        == 1
    )


async def test_error_without_a_text_shows_its_type(supervisor: Supervisor) -> None:
    async with supervisor:
        supervisor.start("home", Child(ConnectionResetError()).run)
        await asyncio.sleep(0.1)
        assert supervisor.state()["home"].error == "ConnectionResetError"


async def test_healthy_child_forgets_its_failures(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runtime.supervisor")
    child = Child(*[TransientError("Unreachable", "away")] * 5)
    async with supervisor:
        supervisor.start("home", child.run)
        await asyncio.sleep(100)
        supervisor.healthy("home")
        supervisor.healthy("home")
        supervisor.healthy("nobody")
        assert supervisor.state()["home"].error == ""
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [("WARNING", "failed, starting again"), ("INFO", "well again")]


async def test_stop_cancels_one_child_and_waits_for_it(supervisor: Supervisor) -> None:
    stopped, kept = Child(), Child()
    async with supervisor:
        supervisor.start("stopped", stopped.run)
        supervisor.start("kept", kept.run)
        await asyncio.sleep(1)
        assert await supervisor.stop("stopped")
        assert stopped.was_cancelled
        assert not kept.was_cancelled
        assert list(supervisor.state()) == ["kept"]
        assert await supervisor.stop("stopped")
        supervisor.start("stopped", stopped.run)
        await asyncio.sleep(1)
    assert len(stopped.starts) == 2
    assert kept.was_cancelled


async def test_stop_ends_a_child_that_backs_off(supervisor: Supervisor) -> None:
    child = Child(OSError("away"))
    async with supervisor:
        supervisor.start("home", child.run)
        await asyncio.sleep(0.1)
        assert await supervisor.stop("home")
        await asyncio.sleep(10)
    assert child.starts == [0]


async def test_stop_of_a_child_that_will_not_end_gives_up(supervisor: Supervisor) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()

    async with supervisor:
        supervisor.start("home", stubborn)
        await asyncio.sleep(1)
        assert not await supervisor.stop("home", timeout_s=5)
        release.set()


async def test_child_that_fails_on_its_way_out_is_not_started_again(
    supervisor: Supervisor,
) -> None:
    starts = []

    async def run() -> None:
        starts.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError(28, "No space left on device")

    async with supervisor:
        supervisor.start("home", run)
        await asyncio.sleep(0)
        assert await supervisor.stop("home", timeout_s=5)
        await asyncio.sleep(1000)
        supervisor.start("home", run)
        await asyncio.sleep(0)
    assert len(starts) == 2


async def test_name_is_taken_while_its_child_runs_and_free_afterwards(
    supervisor: Supervisor,
) -> None:
    async def finish() -> None:
        pass

    async with supervisor:
        supervisor.start("home", finish)
        with pytest.raises(ValueError, match="home runs already"):
            supervisor.start("home", finish)
        await asyncio.sleep(1)
        supervisor.start("home", finish)


async def test_retry_now_cuts_the_delay_short(supervisor: Supervisor) -> None:
    child = Child(*[OSError("away")] * 4)
    async with supervisor:
        supervisor.start("home", child.run)
        await asyncio.sleep(7)
        before = len(child.starts)
        supervisor.retry_now("home")
        supervisor.retry_now("nobody")
        await asyncio.sleep(0.001)
        assert len(child.starts) == before + 1


async def test_failure_of_the_block_itself_stops_the_children(supervisor: Supervisor) -> None:
    child = Child()

    async def block() -> None:
        async with supervisor:
            supervisor.start("home", child.run)
            await asyncio.sleep(1)
            raise OSError("the daemon's own fault")

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert caught.group_contains(OSError, match="own fault")
    assert child.was_cancelled


async def test_cancellation_that_nobody_asked_for_restarts_the_child(
    supervisor: Supervisor,
) -> None:
    starts = []

    async def run() -> None:
        starts.append(1)
        if len(starts) == 1:
            raise asyncio.CancelledError
        await asyncio.Event().wait()

    async with supervisor:
        supervisor.start("home", run)
        await asyncio.sleep(2)
        assert supervisor.state()["home"].phase is Phase.RUNNING
    assert len(starts) == 2
