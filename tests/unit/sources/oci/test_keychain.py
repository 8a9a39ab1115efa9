"""Logins from docker config Secrets, and which of them a repository gets."""

from __future__ import annotations

import base64
import json

import pytest

from sources.auth.errors import CredentialsError
from sources.oci import keychain, names
from sources.oci.keychain import ANONYMOUS, Login

SECRET = "apps/registry"


def config(**auths: object) -> dict[str, bytes]:
    return {keychain.CONFIG_KEY: json.dumps({"auths": auths}).encode()}


def login(data: dict[str, bytes], url: str) -> Login:
    return keychain.from_secret(data, SECRET).login(names.parse(url))


def encoded(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def named(user: str) -> dict[str, str]:
    return {"username": user, "password": "pw"}


def test_auth_holds_user_and_password() -> None:
    found = login(config(**{"ghcr.io": encoded("ada:p:w")}), "ghcr.io/org/app")
    assert found == Login("ada", "p:w")


def test_username_and_password_do_without_auth() -> None:
    assert login(config(**{"ghcr.io": named("ada")}), "ghcr.io/org/app") == Login("ada", "pw")


def test_tokens_are_read() -> None:
    entry = {"identitytoken": "refresh", "registrytoken": "access"}
    found = login(config(**{"r.example.com": entry}), "r.example.com/app")
    assert (found.refresh_token, found.access_token) == ("refresh", "access")


def test_older_layout_is_read() -> None:
    data = {keychain.LEGACY_KEY: json.dumps({"ghcr.io": encoded("ada:pw")}).encode()}
    assert login(data, "ghcr.io/org/app").username == "ada"


@pytest.mark.parametrize(
    ("key", "url", "fits"),
    [
        ("ghcr.io", "ghcr.io/org/app", True),
        ("https://ghcr.io", "ghcr.io/org/app", True),
        ("https://ghcr.io/v2/", "ghcr.io/org/app", True),
        ("https://index.docker.io/v1/", "nginx", True),
        ("docker.io", "org/app", True),
        ("ghcr.io/org", "ghcr.io/org/app", True),
        ("ghcr.io/org", "ghcr.io/other/app", False),
        ("ghcr.io", "r.ghcr.io/app", False),
        ("*.azurecr.io", "mine.azurecr.io/app", True),
        ("*.azurecr.io", "a.b.azurecr.io/app", False),
        ("*.io", "ghcr.io.evil.example/app", False),
        ("localhost:5000", "localhost:5000/app", True),
        ("localhost:5000", "localhost:5001/app", False),
        ("r.example.com", "r.example.com:5000/app", False),
        ("[::1]:5000", "[::1]:5000/app", True),
    ],
)
def test_entry_fits_hosts_and_paths(key: str, url: str, *, fits: bool) -> None:
    assert (login(config(**{key: named("ada")}), url) != ANONYMOUS) is fits


def test_most_specific_entry_is_presented() -> None:
    data = config(**{"r.io": named("host"), "r.io/org": named("org"), "r.io/org/app": named("app")})
    assert login(data, "r.io/org/app/sub").username == "app"
    assert login(data, "r.io/org/else").username == "org"
    assert login(data, "r.io/else").username == "host"


def test_first_of_several_secrets_wins_where_they_are_equally_specific() -> None:
    first = keychain.from_secret(config(**{"r.io": named("first")}), SECRET)
    second = keychain.from_secret(
        config(**{"r.io": named("second"), "r.io/org": named("org")}), SECRET
    )
    both = keychain.combine([first, second])
    assert both.login(names.parse("r.io/app")).username == "first"
    assert both.login(names.parse("r.io/org/app")).username == "org"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "has no '.dockerconfigjson'"),
        ({"username": b"ada", "password": b"hunter2"}, "has no '.dockerconfigjson'"),
        ({keychain.CONFIG_KEY: b"hunter2"}, "is no docker config"),
        ({keychain.CONFIG_KEY: b'{"auths": {"r.io": "hunter2"}}'}, "is no docker config"),
        (config(**{"r.io": {"auth": "hunter2!"}}), "an 'auth' is not base64"),
        (config(**{"r.io": encoded("hunter2")}), "not user:password"),
    ],
)
def test_bad_secret_is_named_and_not_quoted(data: dict[str, bytes], words: str) -> None:
    with pytest.raises(CredentialsError, match=words) as caught:
        keychain.from_secret(data, SECRET)
    assert "hunter2" not in str(caught.value)
    assert SECRET in str(caught.value)


def test_login_shows_no_secret() -> None:
    shown = repr(keychain.from_secret(config(**{"r.io": encoded("ada:hunter2")}), SECRET))
    assert "hunter2" not in shown
    assert "hunter2" not in repr(Login("ada", "hunter2", "hunter2", "hunter2"))


def test_identity_differs_for_different_logins() -> None:
    logins = [
        ANONYMOUS,
        Login("a", "b"),
        Login("a", "c"),
        Login("", "", "t"),
        Login("", "", "", "t"),
    ]
    assert len({each.identity for each in logins}) == len(logins)
