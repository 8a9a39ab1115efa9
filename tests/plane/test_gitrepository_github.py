"""``provider: github`` on a real API server, with a server that speaks GitHub's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from devcluster.gitserver import GitServer
from runtime.errors import TerminalError
from sources.auth.errors import CredentialsError
from sources.auth.machine_app import MachineApp
from tests.support import github
from tests.support.gitsource import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.github import GitHub
    from tests.support.reconciling import Desk

NO_APP = "secretRef with github app data must be specified when provider is set to github"


@pytest.fixture
async def hub() -> AsyncIterator[GitHub]:
    async with github.running() as each:
        each.install(7, "acme")
        yield each


@pytest.fixture
def server(hub: GitHub, tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "git", admits=hub.admits) as each:
        each.repo("fleet").push({"a": "1"})
        yield each


@pytest.fixture
def source(desk: Desk, server: GitServer, namespace: str) -> Source:
    return Source(desk, server, namespace)


async def secret(desk: Desk, namespace: str, data: dict[str, str]) -> dict[str, str]:
    """Write a Secret, and return the reference to it."""
    await desk.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "github", "namespace": namespace},
            "stringData": data,
        }
    )
    return {"name": "github"}


async def test_repository_is_fetched_with_the_app_of_its_secret(
    desk: Desk, source: Source, hub: GitHub, namespace: str
) -> None:
    await source.apply(provider="github", secretRef=await secret(desk, namespace, hub.secret()))
    await source.reconcile()
    assert source.conditions["Ready"][:2] == ("True", "Succeeded")
    assert all(token not in str(source.live) for token in hub.tokens)
    await source.reconcile()
    assert len(hub.tokens) == 1


async def test_suspended_installation_is_the_objects_condition(
    desk: Desk, source: Source, hub: GitHub, namespace: str
) -> None:
    hub.installations[7].is_suspended = True
    await source.apply(provider="github", secretRef=await secret(desk, namespace, hub.secret()))
    await source.fails()
    status, reason, text = source.conditions["Ready"]
    assert (status, reason) == ("False", "AuthenticationFailed")
    assert text.startswith("failed to configure authentication options: the installation of")
    assert source.conditions["FetchFailed"][2] == text
    hub.installations[7].is_suspended = False
    await source.reconcile()
    assert source.conditions["Ready"][0] == "True"


@pytest.mark.parametrize(
    ("change", "reason", "text"),
    [
        ({"githubAppID": ""}, "AuthenticationFailed", "key 'githubAppID' is missing or empty"),
        (
            {"githubAppPrivateKey": ""},
            "AuthenticationFailed",
            "key 'githubAppPrivateKey' is missing or empty",
        ),
        (
            {"githubAppInstallationID": ""},
            "AuthenticationFailed",
            "one of 'githubAppInstallationID' and 'githubAppInstallationOwner' must be given",
        ),
        (
            {"githubAppInstallationOwner": "acme"},
            "AuthenticationFailed",
            "only one of 'githubAppInstallationID' and 'githubAppInstallationOwner' must be given",
        ),
    ],
)
async def test_incomplete_secret_names_what_is_missing(
    desk: Desk, source: Source, hub: GitHub, namespace: str,
    change: dict[str, str], reason: str, text: str,
) -> None:  # fmt: skip
    data = hub.secret(**change)
    await source.apply(provider="github", secretRef=await secret(desk, namespace, data))
    await source.fails()
    assert source.conditions["Ready"][1] == reason
    assert source.conditions["Ready"][2].endswith(f"secret '{namespace}/github': {text}")


async def test_secret_of_another_kind_is_no_app(desk: Desk, source: Source, namespace: str) -> None:
    data = {"username": "ada", "password": "pw"}
    await source.apply(provider="github", secretRef=await secret(desk, namespace, data))
    await source.fails()
    assert source.conditions["FetchFailed"] == ("True", "InvalidProviderConfiguration", NO_APP)
    assert source.conditions["Reconciling"][1] == "ProgressingWithRetry"


async def test_app_without_the_provider_is_refused(
    desk: Desk, source: Source, hub: GitHub, namespace: str
) -> None:
    await source.apply(secretRef=await secret(desk, namespace, hub.secret()))
    await source.fails()
    assert source.conditions["Ready"][1:] == (
        "InvalidProviderConfiguration",
        f"secretRef '{namespace}/github' has github app data but provider is not set to github",
    )


async def test_provider_without_any_app_is_stalled(source: Source) -> None:
    await source.apply(provider="github")
    await source.fails(TerminalError)
    status, reason, text = source.conditions["Stalled"]
    assert (status, reason) == ("True", "InvalidProviderConfiguration")
    assert text == f"{NO_APP} (config.toml has no [github] app_id)"


async def test_machines_app_serves_the_namespaces_it_is_for(
    desk: Desk, source: Source, hub: GitHub, namespace: str
) -> None:
    namespaces = frozenset({"elsewhere"})
    desk.context.github_app = lambda: MachineApp(hub.app(owner="acme"), namespaces)
    await source.apply(provider="github")
    await source.fails()
    assert f"is not for namespace '{namespace}'" in source.conditions["Ready"][2]
    namespaces |= {namespace}
    await source.reconcile()
    assert source.conditions["Ready"][0] == "True"


async def test_machines_app_gives_its_token_to_its_own_host_only(
    desk: Desk, source: Source, hub: GitHub
) -> None:
    desk.context.github_app = lambda: MachineApp(hub.app(owner="acme"), frozenset("*"))
    await source.apply(provider="github", url="http://localhost:1/fleet.git")
    await source.fails()
    assert source.conditions["Ready"][1:] == (
        "InvalidProviderConfiguration",
        "the GitHub App of config.toml opens http://127.0.0.1 only",
    )
    assert not hub.tokens


async def test_unreadable_key_of_the_machine_is_a_condition(desk: Desk, source: Source) -> None:
    def unreadable() -> Any:
        raise CredentialsError("[github] of config.toml: secret file k: mode 0644 lets others in")

    desk.context.github_app = unreadable
    await source.apply(provider="github")
    await source.fails()
    assert "mode 0644 lets others in" in source.conditions["Ready"][2]
