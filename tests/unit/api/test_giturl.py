"""Which Git URLs mean the same repository."""

from __future__ import annotations

import pytest

from api import giturl

SAME = [
    "https://github.com/Acme/Fleet",
    "https://github.com/acme/fleet.git",
    "https://github.com/acme/fleet/",
    "https://GitHub.com:443/acme/fleet.git",
    "https://x-access-token:secret@github.com/acme/fleet.git",
    "http://github.com//acme/fleet",
    "ssh://git@github.com/acme/fleet.git",
    "ssh://git@github.com:22/acme/fleet",
    "ssh://git@ssh.github.com:443/acme/fleet.git",
    "git@github.com:acme/fleet.git",
    "github.com:acme/fleet",
    "git@github.com:/acme/fleet.git",
    "git://github.com/acme/fleet.git",
    "https://github.com./acme/fleet",
    "https://github.com/acme/fl%65et",
    " https://github.com/acme/fleet ",
]

OTHER = [
    "https://github.com/acme/fleet2",
    "https://github.com/acme",
    "https://github.com/other/fleet",
    "https://gitlab.com/acme/fleet",
    "git@gitlab.com:acme/fleet.git",
    "https://github.com/acme/fleet/sub",
    "https://github.com.evil.example/acme/fleet",
]

UNREADABLE = ["", "fleet", "/srv/git/fleet", "https://", "https://github.com/", "https://[::1", "C"]


@pytest.mark.parametrize("url", SAME)
def test_forms_of_one_repository_have_one_key(url: str) -> None:
    assert giturl.key(url) == "github.com/acme/fleet"


@pytest.mark.parametrize("url", OTHER)
def test_another_repository_has_another_key(url: str) -> None:
    assert not giturl.is_same(SAME[0], url)


@pytest.mark.parametrize("url", UNREADABLE)
def test_what_names_no_repository_equals_nothing(url: str) -> None:
    assert giturl.key(url) is None
    assert not giturl.is_same(url, url)


def test_a_nested_group_keeps_its_whole_path() -> None:
    assert giturl.key("git@gitlab.com:a/b/c.git") == "gitlab.com/a/b/c"


def test_an_ipv6_host_is_compared_without_brackets() -> None:
    assert giturl.is_same("ssh://git@[::1]:2222/fleet.git", "git@[::1]:fleet")
