"""Which GitRepositories a push is about; pure functions.

The answer may err on the side of waking one too many: a woken source asks its own remote, and a
remote that did not change costs one request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from api import giturl

if TYPE_CHECKING:
    from api.source import GitRef, GitRepository

_DEFAULT_BRANCH = "master"


class Repository(msgspec.Struct, frozen=True):
    """The repository of a delivery, by each address that the host gives it."""

    clone_url: str = ""
    ssh_url: str = ""
    git_url: str = ""
    html_url: str = ""

    @property
    def keys(self) -> frozenset[str]:
        """The keys of its addresses, see `api.giturl.key`."""
        urls = (self.clone_url, self.ssh_url, self.git_url, self.html_url)
        return frozenset(key for url in urls if (key := giturl.key(url)))


class Push(msgspec.Struct, frozen=True):
    """The part of GitHub's push payload that matters here; the rest is not decoded."""

    repository: Repository
    ref: str
    """Full name of the reference that moved, such as ``refs/heads/main``."""
    after: str = ""
    """The commit it points to now."""


def concerns(push: Push, source: GitRepository) -> bool:
    """Tell whether a source follows the repository and the reference that were pushed to."""
    if source.spec.suspend or giturl.key(source.spec.url) not in push.repository.keys:
        return False
    return follows(source.spec.ref, push)


def follows(ref: GitRef | None, push: Push) -> bool:
    """Tell whether a reference may resolve to something else after the push.

    The precedence is the one of fetching: commit, name, tag, semver, branch. A pinned commit waits
    for the push that brings it.
    """
    if ref is None:
        return push.ref == f"refs/heads/{_DEFAULT_BRANCH}"
    if ref.commit:
        return push.after == ref.commit
    if ref.name:
        return push.ref == ref.name
    if ref.tag:
        return push.ref == f"refs/tags/{ref.tag}"
    if ref.semver:
        return push.ref.startswith("refs/tags/")
    return push.ref == f"refs/heads/{ref.branch or _DEFAULT_BRANCH}"
