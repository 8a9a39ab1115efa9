"""Logins lent by clouds: for whom, for which hosts, for how long."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from sources.auth.errors import CredentialsError
from sources.oci import clouds
from sources.oci.clouds import Borrowed, Lent
from sources.oci.keychain import Login
from tests.support.api import ManualClock


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", ("eu-west-1", "amazonaws.com")),
        ("1.dkr.ecr-fips.us-gov-west-1.amazonaws.com", ("us-gov-west-1", "amazonaws.com")),
        ("1.dkr.ecr.cn-north-1.amazonaws.com.cn", ("cn-north-1", "amazonaws.com.cn")),
        ("public.ecr.aws", ("us-east-1", "amazonaws.com")),
    ],
)
def test_region_is_in_the_name_of_a_registry_of_aws(host: str, place: tuple[str, str]) -> None:
    assert clouds.ecr_place(host) == place


@pytest.mark.parametrize(
    "host",
    [
        "ghcr.io",
        "1.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
        "1.dkr.ecr.eu-west-1.evil.example",
        "evil.example:1.dkr.ecr.eu-west-1.amazonaws.com",
    ],
)
def test_other_host_gets_nothing_of_aws(host: str) -> None:
    with pytest.raises(CredentialsError, match="invalid AWS registry"):
        clouds.ecr_place(host)


def test_other_host_gets_nothing_of_azure() -> None:
    clouds.check_acr("acme.azurecr.io")
    for host in (
        "azurecr.io",
        "acme.azurecr.io.evil.example",
        "acme.azurecr.io:444",
        "evil.example",
    ):
        with pytest.raises(CredentialsError, match="invalid Azure registry"):
            clouds.check_acr(host)


def test_other_host_gets_nothing_of_google() -> None:
    for host in ("gcr.io", "eu.gcr.io", "europe-west1-docker.pkg.dev"):
        clouds.check_gar(host)
    for host in ("gcr.io.evil.example", "evilgcr.io", "x.docker.pkg.dev", "ghcr.io"):
        with pytest.raises(CredentialsError, match="invalid GCP registry"):
            clouds.check_gar(host)


def test_annotations_of_google_are_checked() -> None:
    provider = "projects/1/locations/global/workloadIdentityPools/pool/providers/home"
    for text in (
        provider,
        f"//iam.googleapis.com/{provider}",
        f"https://iam.googleapis.com/{provider}",
    ):
        assert clouds.pool(text) == f"//iam.googleapis.com/{provider}"
    for text in ("", "pool", f"//evil.example/{provider}", f"{provider}/more"):
        with pytest.raises(CredentialsError, match="workload-identity-provider annotation"):
            clouds.pool(text)
    assert clouds.check_account("a@p.iam.gserviceaccount.com") == "a@p.iam.gserviceaccount.com"
    for text in ("a@evil.example", "a/../b@p.iam.gserviceaccount.com"):
        with pytest.raises(CredentialsError, match="gcp-service-account annotation"):
            clouds.check_account(text)


class Cloud:
    """Lends a new login each time, for an hour."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked = 0
        self.is_away = False

    async def lend(self) -> Lent:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise CredentialsError("away")
        return Lent(Login("user", str(self.asked)), self.clock.now() + dt.timedelta(hours=1))


async def test_those_who_ask_share_a_login_until_it_is_about_to_end() -> None:
    clock = ManualClock()
    cloud, borrowed = Cloud(clock), Borrowed(clock)
    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(borrowed.login(b"a", cloud.lend)) for _ in range(9)]
    assert {each.result().password for each in found} == {"1"}
    assert (await borrowed.login(b"b", cloud.lend)).password == "2"
    clock.move(3600 - 299)
    assert (await borrowed.login(b"a", cloud.lend)).password == "3"


async def test_old_login_covers_for_a_cloud_that_is_away_until_it_ends() -> None:
    clock = ManualClock()
    cloud, borrowed = Cloud(clock), Borrowed(clock)
    await borrowed.login(b"a", cloud.lend)
    cloud.is_away = True
    clock.move(3600 - 200)
    assert (await borrowed.login(b"a", cloud.lend)).password == "1"
    clock.move(200)
    with pytest.raises(CredentialsError, match="away"):
        await borrowed.login(b"a", cloud.lend)


async def test_logins_that_nobody_asks_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "REMEMBERED", 2)
    clock = ManualClock()
    cloud, borrowed = Cloud(clock), Borrowed(clock)
    for identity in (b"a", b"b", b"a", b"c"):
        await borrowed.login(identity, cloud.lend)
    assert (await borrowed.login(b"a", cloud.lend)).password == "1"
    assert (await borrowed.login(b"b", cloud.lend)).password == "4"
