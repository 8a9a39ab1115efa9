"""What is lent is kept, shared, renewed in time and forgotten in the end."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from sources.auth import keep as keeping
from sources.auth.errors import CredentialsError
from sources.auth.keep import Keep, Lasting
from tests.support.api import ManualClock


class Cloud:
    """Lends a new one each time, for an hour."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked = 0
        self.is_away = False

    async def lend(self) -> Lasting[str]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise CredentialsError("away")
        return Lasting(str(self.asked), self.clock.now() + dt.timedelta(hours=1))


async def test_those_who_ask_share_what_is_lent_until_it_is_about_to_end() -> None:
    clock = ManualClock()
    cloud, keep = Cloud(clock), Keep(clock)
    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(keep.get(b"a", cloud.lend)) for _ in range(9)]
    assert {each.result().value for each in found} == {"1"}
    assert (await keep.get(b"b", cloud.lend)).value == "2"
    clock.move(3600 - 299)
    assert (await keep.get(b"a", cloud.lend)).value == "3"


async def test_old_one_covers_for_a_cloud_that_is_away_until_it_ends() -> None:
    clock = ManualClock()
    cloud, keep = Cloud(clock), Keep(clock)
    await keep.get(b"a", cloud.lend)
    cloud.is_away = True
    clock.move(3600 - 200)
    assert (await keep.get(b"a", cloud.lend)).value == "1"
    clock.move(200)
    with pytest.raises(CredentialsError, match="away"):
        await keep.get(b"a", cloud.lend)


async def test_what_nobody_asks_for_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "REMEMBERED", 2)
    clock = ManualClock()
    cloud, keep = Cloud(clock), Keep(clock)
    for identity in (b"a", b"b", b"a", b"c"):
        await keep.get(identity, cloud.lend)
    assert (await keep.get(b"a", cloud.lend)).value == "1"
    assert (await keep.get(b"b", cloud.lend)).value == "4"


def test_what_is_lent_is_shown_nowhere() -> None:
    assert "hush" not in repr(Lasting("hush", ManualClock().now()))
