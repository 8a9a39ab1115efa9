"""What is lent is shared, renewed in time, and doubted with reason."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from runtime.errors import TransientError
from sources.auth.errors import CredentialsError
from sources.auth.lent import Lender, Loan
from tests.support.api import ManualClock

HOUR = dt.timedelta(hours=1)


class Cloud:
    """Lends numbers for an hour."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.lent = 0
        self.is_away = False
        self.lender = Lender(b"me", self.borrow, clock)

    async def borrow(self) -> Loan:
        await asyncio.sleep(0)
        if self.is_away:
            raise CredentialsError("the cloud is away")
        self.lent += 1
        number = self.lent
        return Loan(lambda url: f"{number} for {url}", self.clock.now() + HOUR)

    async def shown(self) -> str:
        return await self.lender.authorization("u")


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(ManualClock())


async def test_those_who_ask_together_share_a_loan(cloud: Cloud) -> None:
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(cloud.shown()) for _ in range(5)]
    assert {each.result() for each in asked} == {"1 for u"}
    assert await cloud.lender.authorization("other") == "1 for other"


async def test_loan_is_renewed_before_it_ends(cloud: Cloud) -> None:
    await cloud.shown()
    cloud.clock.move(3600 - 301)
    assert await cloud.shown() == "1 for u"
    cloud.clock.move(2)
    assert await cloud.shown() == "2 for u"


async def test_loan_that_still_holds_covers_for_a_cloud_that_is_away(cloud: Cloud) -> None:
    await cloud.shown()
    cloud.is_away = True
    cloud.clock.move(3600 - 10)
    assert await cloud.shown() == "1 for u"
    cloud.clock.move(20)
    with pytest.raises(TransientError) as caught:
        await cloud.shown()
    assert (caught.value.reason, caught.value.message) == (
        "AuthenticationFailed",
        "failed to configure authentication options: the cloud is away",
    )


async def test_refused_loan_is_replaced_unless_it_is_young(cloud: Cloud) -> None:
    await cloud.shown()
    cloud.lender.doubt()
    assert await cloud.shown() == "1 for u"
    cloud.clock.move(61)
    cloud.lender.doubt()
    assert await cloud.shown() == "2 for u"


def test_loan_is_shown_nowhere(cloud: Cloud) -> None:
    assert "secret" not in repr(Loan(lambda _url: "secret", cloud.clock.now()))
