"""``gitopsd github`` as people run it, against a server that speaks GitHub's API."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest

from cli import github
from daemon import settings
from inspection import failure
from tests.support import github as hubs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.github import GitHub


@pytest.fixture
async def hub() -> AsyncIterator[GitHub]:
    async with hubs.running() as each:
        each.install(7, "acme", repositories=tuple(f"acme/app-{n}" for n in range(23)))
        each.install(8, "ada", is_organisation=False, is_suspended=True)
        yield each


@pytest.fixture
def loaded(hub: GitHub, tmp_path: Path) -> settings.Settings:
    file = tmp_path / "key.pem"
    file.touch(mode=0o600)
    file.write_bytes(hubs.pem(hub.key))
    return settings.parse(
        f'[github]\napp_id = {hubs.APP_ID}\ninstallation = "acme"\nprivate_key_file = "{file}"\n'
        f'base_url = "{hub.url}"\n',
        "config.toml",
    )


@pytest.mark.blocking("reads the key as a command may")
async def test_check_shows_what_the_app_sees(
    loaded: settings.Settings, hub: GitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await github.check(loaded) == 0
    out = capsys.readouterr().out
    assert "✗" not in out
    for line in (
        "✔ app: gitopsd acme, ",
        "✔ clock: agrees with GitHub's",
        "✔ webhook: https://mini.example/webhooks/github\n",
        "✔ installation 7: acme, selected repositories, ",
        "  installation 8: ada, selected repositories, suspended, ",
        "✔ repositories: 23\n    acme/app-0\n",
        "    … and 3 more\n",
    ):
        assert line in out
    assert all(token not in out for token in hub.tokens)


@pytest.mark.blocking("reads the key as a command may")
async def test_check_names_a_missing_permission(
    loaded: settings.Settings, hub: GitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    del hub.permissions["metadata"]
    assert await github.check(loaded) == 1
    assert "✗ permissions: missing metadata: grant read" in capsys.readouterr().out


@pytest.mark.blocking("reads the key as a command may")
async def test_check_tells_a_wrong_clock(
    loaded: settings.Settings, hub: GitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.ahead = -dt.timedelta(hours=1)
    assert await github.check(loaded) == 1
    assert "s ahead of GitHub's; set it right" in capsys.readouterr().out


@pytest.mark.blocking("reads the key as a command may")
async def test_check_ends_with_what_github_refused(
    loaded: settings.Settings, hub: GitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.installations[7].is_suspended = True
    assert await github.check(loaded) == 1
    assert capsys.readouterr().out.endswith(
        "✗ the installation of github app 4711 is suspended: unsuspend it in GitHub's settings "
        "under Installed GitHub Apps (This installation has been suspended)\n"
    )


def test_check_without_an_app_is_a_usage_error() -> None:
    with pytest.raises(failure.UsageError, match=r"no \[github\] app_id"):
        asyncio.run(github.check(settings.Settings()))


def test_webhook_prints_what_to_enter() -> None:
    text = github.webhook_text(settings.Settings(), "https://mini.example/")
    assert "Webhook URL       https://mini.example/webhooks/github\n" in text
    assert "openssl rand -hex 32" in text
    named = settings.parse('[github]\nwebhook_secret_file = "/etc/hook"\n', "config.toml")
    text = github.webhook_text(named, "")
    assert "Secret            the content of /etc/hook" in text
    assert "openssl" not in text
