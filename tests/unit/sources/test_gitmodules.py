"""Where a submodule comes from, and which credentials go there."""

from __future__ import annotations

import pytest

from sources import gitmodules
from sources.auth.basic import Credentials
from sources.auth.proxy import Proxy
from sources.auth.ssh import Identity
from sources.auth.tls import Trust
from sources.git import Repository

OURS = Credentials("ada", "secret", trust=Trust(b"ca"))
PARENT = Repository("https://git.example.com/org/fleet.git", OURS, Proxy("http://proxy"), 7.0)
KEY = Credentials(ssh=Identity(b"key", b"hosts"))
OVER_SSH = Repository("ssh://git@git.example.com/org/fleet.git", KEY)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("../lib.git", "https://git.example.com/org/lib.git"),
        ("./lib.git", "https://git.example.com/org/fleet.git/lib.git"),
        ("../../other/lib", "https://git.example.com/other/lib"),
        ("https://git.example.com/a/b.git", "https://git.example.com/a/b.git"),
        ("https://git.example.com:443/a/b.git", "https://git.example.com:443/a/b.git"),
    ],
)
def test_submodule_on_the_same_server_gets_the_credentials(url: str, expected: str) -> None:
    found = gitmodules.locate(PARENT, url)
    assert found == Repository(expected, OURS, PARENT.proxy, 7.0)


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.com/org/lib.git",
        "http://git.example.com/org/lib.git",
        "https://git.example.com:8443/org/lib.git",
        "https://git.example.com.evil.org/org/lib.git",
        "https://git.example.com@evil.org/org/lib.git",
    ],
)
def test_submodule_anywhere_else_gets_no_credentials_of_ours(url: str) -> None:
    found = gitmodules.locate(PARENT, url)
    assert "secret" not in found.credentials.password
    assert found.credentials.trust == Trust()
    assert found.credentials.username in {"", "git.example.com"}


def test_user_information_of_a_submodule_stays_out_of_its_url() -> None:
    found = gitmodules.locate(PARENT, "https://eve:word@elsewhere.example.com/lib.git")
    assert found.url == "https://elsewhere.example.com/lib.git"
    assert found.credentials == Credentials("eve", "word")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("git@git.example.com:org/lib.git", "ssh://git@git.example.com/org/lib.git"),
        ("../lib.git", "ssh://git@git.example.com/org/lib.git"),
        ("ssh://deploy@git.example.com:22/lib.git", "ssh://deploy@git.example.com:22/lib.git"),
    ],
)
def test_submodule_over_ssh_on_the_same_server_gets_the_key(url: str, expected: str) -> None:
    assert gitmodules.locate(OVER_SSH, url) == Repository(expected, KEY)


def test_public_submodule_of_a_repository_over_ssh() -> None:
    found = gitmodules.locate(OVER_SSH, "https://git.example.com/org/lib.git")
    assert found == Repository("https://git.example.com/org/lib.git")


@pytest.mark.parametrize(
    ("parent", "url", "text"),
    [
        (
            PARENT,
            "git@git.example.com:org/lib.git",
            "are not for ssh://git.example.com/org/lib.git",
        ),
        (OVER_SSH, "git@elsewhere.org:lib.git", "another server over ssh needs some"),
        (OVER_SSH, "ssh://git@git.example.com:2222/lib", "another server over ssh needs some"),
        (PARENT, "file:///etc/shadow", "is no http, https or ssh URL"),
        (PARENT, "/srv/git/lib.git", "is no http, https or ssh URL"),
        (PARENT, "git://git.example.com/lib.git", "is no http, https or ssh URL"),
        (PARENT, "ext::sh -c id", "are not for ssh://ext/"),
        (PARENT, "lib.git", "is no http, https or ssh URL"),
        (PARENT, "https://", "is no http, https or ssh URL"),
        (PARENT, "", "is no http, https or ssh URL"),
        (PARENT, "../../../lib.git", "leads out of the server"),
        (PARENT, "https://[::1/lib.git", "is no http, https or ssh URL"),
        (PARENT, "https://h:port/lib.git", "is no URL"),
    ],
)
def test_url_that_names_no_repository_we_may_ask_is_refused(
    parent: Repository, url: str, text: str
) -> None:
    with pytest.raises(gitmodules.LocationError) as caught:
        gitmodules.locate(parent, url)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
