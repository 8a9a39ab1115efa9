"""Which sources a push wakes."""

from __future__ import annotations

import msgspec
import pytest

from api.source import GitRef, GitRepository, GitRepositorySpec
from daemon import pushes

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = pushes.Repository(
    clone_url="https://github.com/acme/fleet.git",
    ssh_url="git@github.com:acme/fleet.git",
    html_url="https://github.com/acme/fleet",
)


def push(ref: str = "refs/heads/main") -> pushes.Push:
    return pushes.Push(repository=REPOSITORY, ref=ref, after=COMMIT)


def source(
    url: str = "https://github.com/acme/fleet", ref: GitRef | None = None, *, suspend: bool = False
) -> GitRepository:
    return GitRepository(spec=GitRepositorySpec(url=url, interval="1m", ref=ref, suspend=suspend))


@pytest.mark.parametrize(
    ("ref", "pushed"),
    [
        (GitRef(branch="main"), "refs/heads/main"),
        (GitRef(branch="release/1.x"), "refs/heads/release/1.x"),
        (None, "refs/heads/master"),
        (GitRef(), "refs/heads/master"),
        (GitRef(name="refs/heads/main"), "refs/heads/main"),
        (GitRef(name="refs/tags/v1", branch="main"), "refs/tags/v1"),
        (GitRef(tag="v1"), "refs/tags/v1"),
        (GitRef(semver=">=1.0.0"), "refs/tags/v1.2.3"),
        (GitRef(commit=COMMIT), "refs/heads/whatever"),
    ],
)
def test_a_push_to_what_a_source_follows_concerns_it(ref: GitRef | None, pushed: str) -> None:
    assert pushes.concerns(push(pushed), source(ref=ref))


@pytest.mark.parametrize(
    ("ref", "pushed"),
    [
        (GitRef(branch="main"), "refs/heads/main2"),
        (GitRef(branch="main"), "refs/tags/main"),
        (None, "refs/heads/main"),
        (GitRef(name="refs/heads/main"), "refs/heads/dev"),
        (GitRef(tag="v1", branch="main"), "refs/heads/main"),
        (GitRef(semver=">=1.0.0", branch="main"), "refs/heads/main"),
        (GitRef(tag="v1", semver=">=1.0.0"), "refs/tags/v2"),
        (GitRef(commit="f" * 40, branch="main"), "refs/heads/main"),
    ],
)
def test_a_push_to_anything_else_does_not(ref: GitRef | None, pushed: str) -> None:
    assert not pushes.concerns(push(pushed), source(ref=ref))


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/fleet.git",
        "https://user:token@GitHub.com:443/Acme/Fleet",
        "ssh://git@github.com/acme/fleet",
        "ssh://git@ssh.github.com:443/acme/fleet.git",
    ],
)
def test_the_way_to_the_repository_does_not_matter(url: str) -> None:
    assert pushes.concerns(push(), source(url, GitRef(branch="main")))


@pytest.mark.parametrize("url", ["https://github.com/acme/other", "https://gitlab.com/acme/fleet"])
def test_another_repository_is_not_concerned(url: str) -> None:
    assert not pushes.concerns(push(), source(url, GitRef(branch="main")))


def test_a_suspended_source_sleeps_on() -> None:
    assert not pushes.concerns(push(), source(ref=GitRef(branch="main"), suspend=True))


def test_a_repository_without_any_address_concerns_nobody() -> None:
    nameless = pushes.Push(repository=pushes.Repository(), ref="refs/heads/main")
    assert not pushes.concerns(nameless, source("/not/a/url", GitRef(branch="main")))


def test_a_real_payload_decodes_with_all_that_is_ignored_in_it() -> None:
    raw = b"""{"ref": "refs/heads/main", "before": "0", "after": "%s", "commits": [{"id": "1"}],
      "repository": {"id": 1, "full_name": "acme/fleet", "clone_url": "https://github.com/acme/fleet.git",
      "ssh_url": "git@github.com:acme/fleet.git", "owner": {"login": "acme"}}}""" % COMMIT.encode()
    decoded = msgspec.json.decode(raw, type=pushes.Push)
    assert decoded.repository.keys == {"github.com/acme/fleet"}
    assert decoded.after == COMMIT
