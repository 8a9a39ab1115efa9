"""What the work queue promises, case by case; `test_workqueue_invariants` searches for the rest."""

from __future__ import annotations

import asyncio
import random

import pytest

from runtime.workqueue import RateLimiter, Work, WorkQueue

pytestmark = pytest.mark.usefixtures("virtual_time")


class Recorder:
    """A `QueueObserver` that remembers."""

    def __init__(self) -> None:
        self.adds = 0
        self.waited: list[float] = []
        self.took: list[float] = []

    def added(self) -> None:
        self.adds += 1

    def started(self, waited_s: float) -> None:
        self.waited.append(waited_s)

    def finished(self, took_s: float) -> None:
        self.took.append(took_s)


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue()


async def get(queue: WorkQueue[str], within_s: float = 0.0) -> Work[str] | None:
    """Return the next work, or None when there is none within the time."""
    try:
        async with asyncio.timeout(within_s):
            return await queue.get()
    except TimeoutError:
        return None


async def take(queue: WorkQueue[str]) -> Work[str]:
    """Return the next work, which must be there."""
    work = await get(queue)
    assert work is not None
    return work


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_keys_come_out_in_the_order_they_went_in(queue: WorkQueue[str]) -> None:
    for key in "bca":
        queue.add(key)
    assert [(await take(queue)).key for _ in range(3)] == ["b", "c", "a"]


async def test_key_added_twice_is_handed_out_once(queue: WorkQueue[str]) -> None:
    queue.add("a", cause="first")
    queue.add("a", cause="second")
    assert (await take(queue)).cause == "first"
    assert await get(queue) is None


async def test_key_added_while_processed_waits_for_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    work = await take(queue)
    queue.add("a", cause="push")
    assert await get(queue) is None
    queue.done(work)
    assert (await take(queue)).cause == "push"


async def test_key_given_back_untouched_is_not_handed_out_again(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.done(await take(queue))
    assert await get(queue) is None


async def test_processing_of_one_key_does_not_hold_up_another(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await take(queue)
    queue.add("b")
    assert (await take(queue)).key == "b"


async def test_done_of_what_is_not_processed_is_refused(queue: WorkQueue[str]) -> None:
    queue.add("a")
    work = await take(queue)
    queue.done(work)
    with pytest.raises(KeyError):
        queue.done(work)


async def test_waiting_consumer_wakes_for_an_add(queue: WorkQueue[str]) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiter = tasks.create_task(queue.get())
        await asyncio.sleep(1)
        queue.add("a")
    assert waiter.result().key == "a"


async def test_two_waiting_consumers_each_get_a_key(queue: WorkQueue[str]) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiters = [tasks.create_task(queue.get()) for _ in range(2)]
        await asyncio.sleep(1)
        queue.add("a")
        queue.add("b")
    assert {waiter.result().key for waiter in waiters} == {"a", "b"}


async def test_cancelled_consumer_loses_no_key(queue: WorkQueue[str]) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiter = tasks.create_task(queue.get())
        await asyncio.sleep(1)
        queue.add("a")
        waiter.cancel()
    assert (await take(queue)).key == "a"


async def test_key_that_is_only_waited_for_stays(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 5)
    await queue.ready()
    assert now() == 5
    assert queue.depth() == 1
    assert queue.take().key == "a"
    with pytest.raises(KeyError):
        queue.take()


async def test_delayed_key_comes_when_it_is_due(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 30, cause="interval")
    work = await get(queue, within_s=100)
    assert work is not None
    assert (work.key, work.cause, now()) == ("a", "interval", 30)


async def test_delay_of_zero_or_less_means_now(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0)
    queue.add_after("b", -1)
    assert [(await take(queue)).key, (await take(queue)).key] == ["a", "b"]


async def test_delay_of_zero_runs_again_after_done_without_superseding(
    queue: WorkQueue[str],
) -> None:
    queue.add("a")
    work = await take(queue)
    queue.add_after("a", 0, cause="at once")
    assert not work.superseded.is_set()
    queue.done(work)
    assert (await take(queue)).cause == "at once"


@pytest.mark.parametrize("delays", [(30, 10), (10, 30)])
async def test_earliest_due_time_wins(queue: WorkQueue[str], delays: tuple[int, int]) -> None:
    for delay in delays:
        queue.add_after("a", delay, cause=str(delay))
    work = await get(queue, within_s=100)
    assert work is not None
    assert (work.cause, now()) == ("10", 10)
    queue.done(work)
    assert await get(queue, within_s=100) is None


async def test_consumer_that_waits_for_a_late_key_hears_of_an_earlier_one(
    queue: WorkQueue[str],
) -> None:
    queue.add_after("late", 60)
    async with asyncio.TaskGroup() as tasks:
        waiter = tasks.create_task(queue.get())
        await asyncio.sleep(1)
        queue.add_after("early", 5)
    assert (waiter.result().key, now()) == ("early", 6)


async def test_add_makes_a_delayed_key_ready_and_drops_its_due_time(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 30)
    queue.add("a")
    queue.done(await take(queue))
    assert await get(queue, within_s=100) is None


async def test_delay_of_a_key_that_is_ready_or_dirty_changes_nothing(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add_after("a", 5)
    work = await take(queue)
    queue.add("a")
    queue.add_after("a", 5)
    queue.done(work)
    queue.done(await take(queue))
    assert queue.delayed() == 0
    assert await get(queue, within_s=100) is None


async def test_key_that_comes_due_while_processed_runs_after_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    work = await take(queue)
    queue.add_after("a", 5)
    assert await get(queue, within_s=10) is None
    assert not work.superseded.is_set()
    queue.done(work)
    assert (await take(queue)).key == "a"


async def test_low_keys_give_way(queue: WorkQueue[str]) -> None:
    for key in "ab":
        queue.add(key, low=True)
    queue.add("urgent")
    assert [(await take(queue)).key for _ in range(3)] == ["urgent", "a", "b"]


async def test_high_add_promotes_a_low_key_and_its_cause(queue: WorkQueue[str]) -> None:
    queue.add("a", low=True, cause="list")
    queue.add("b", low=True, cause="list")
    queue.add("b", cause="push")
    work = await take(queue)
    assert (work.key, work.cause) == ("b", "push")
    assert (await take(queue)).key == "a"


async def test_low_add_does_not_demote(queue: WorkQueue[str]) -> None:
    queue.add("a", low=True)
    queue.add("b")
    queue.add("b", low=True)
    assert (await take(queue)).key == "b"


async def test_low_add_while_processed_runs_later_and_is_no_news(queue: WorkQueue[str]) -> None:
    queue.add("a")
    work = await take(queue)
    queue.add("a", low=True, cause="list")
    assert not work.superseded.is_set()
    queue.done(work)
    queue.add("b")
    assert [(await take(queue)).key, (await take(queue)).key] == ["b", "a"]


async def test_high_add_promotes_a_key_that_is_dirty_at_low_priority(queue: WorkQueue[str]) -> None:
    queue.add("a")
    work = await take(queue)
    queue.add("a", low=True, cause="list")
    queue.add("a", cause="push")
    assert work.superseded_by == "push"
    queue.add("b", low=True)
    queue.done(work)
    assert (await take(queue)).cause == "push"


async def test_promotion_without_a_cause_keeps_the_cause(queue: WorkQueue[str]) -> None:
    queue.add("a", low=True, cause="list")
    queue.add("a")
    work = await take(queue)
    assert work.cause == "list"
    queue.add("a", low=True, cause="relist")
    queue.add("a")
    queue.done(work)
    assert (await take(queue)).cause == "relist"


async def test_add_while_processed_supersedes_with_the_first_cause(queue: WorkQueue[str]) -> None:
    queue.add("a")
    work = await take(queue)
    assert not work.superseded.is_set()
    queue.add("a", cause="GitRepository/flux-system/apps")
    queue.add("a", cause="edit")
    assert work.superseded.is_set()
    assert work.superseded_by == "GitRepository/flux-system/apps"


async def test_measures_what_it_holds(queue: WorkQueue[str]) -> None:
    assert (queue.depth(), queue.delayed(), queue.longest_running_s()) == (0, 0, 0.0)
    for key in "abc":
        queue.add(key)
    queue.add_after("d", 50)
    await take(queue)
    await asyncio.sleep(2)
    await take(queue)
    await asyncio.sleep(3)
    assert (queue.depth(), queue.delayed()) == (1, 1)
    assert (queue.longest_running_s(), queue.unfinished_s()) == (5, 8)
    assert [work.key for work in queue.processing()] == ["a", "b"]
    assert queue.is_processing("a")
    assert not queue.is_processing("c")


async def test_can_be_measured_from_another_thread(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await take(queue)
    assert await asyncio.to_thread(queue.longest_running_s) >= 0


async def test_observer_hears_adds_waits_and_durations() -> None:
    recorder = Recorder()
    queue = WorkQueue[str](recorder)
    queue.add("a")
    queue.add("a")
    await asyncio.sleep(2)
    work = await take(queue)
    queue.add("a")
    await asyncio.sleep(3)
    queue.done(work)
    await take(queue)
    assert (recorder.adds, recorder.waited, recorder.took) == (2, [2, 3], [3])


async def test_key_woken_again_and_again_leaves_no_trail(queue: WorkQueue[str]) -> None:
    queue.add_after("other", 60)
    for _ in range(1000):
        queue.add("a")
        work = await take(queue)
        queue.add_after("a", 3600)
        queue.done(work)
    assert len(queue._heap) < 100
    for key, due in (("other", 60), ("a", 3600)):
        late = await get(queue, within_s=4000)
        assert late is not None
        assert (late.key, now()) == (key, due)


def test_rate_limiter_doubles_to_its_cap_and_forgets() -> None:
    limiter = RateLimiter[str](random.Random(1))
    delays = [limiter.when("a") for _ in range(60)]
    for index, delay in enumerate(delays):
        nominal = min(900.0, 0.75 * 2**index)
        assert 0.8 * nominal <= delay <= 1.2 * nominal
    assert limiter.when("b") < 1
    limiter.forget("a")
    limiter.forget("a")
    assert limiter.when("a") < 1
