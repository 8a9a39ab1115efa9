"""Which commit a GitRepository's ``ref`` means, given what the remote advertises.

Everything here is pure. Precedence and revision strings are Flux's: commit, name, tag, semver,
branch; branch ``master`` where nothing is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sources import semver

if TYPE_CHECKING:
    from api.source import GitRef

HEADS = "refs/heads/"
TAGS = "refs/tags/"
PEELED = "^{}"
DEFAULT_BRANCH = "master"

Refs: TypeAlias = dict[str, str]
"""What a remote advertises: reference name to object id in 40 hex digits. Where a name is an
annotated tag, the commit it means stands under the name followed by ``^{}``."""

_FULL_SHA = re.compile(r"[0-9a-f]{40}")


class UnresolvedError(ValueError):
    """A reference that means no commit of this repository; the text says why."""


@dataclass(frozen=True, slots=True)
class Tag:
    """The tag by which a commit was named."""

    name: str
    """Without ``refs/tags/``."""
    sha: str = ""
    """Its object, 40 hex digits; empty for a lightweight tag, which has none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit that a reference may mean."""

    sha: str
    """40 hex digits: the commit, or a tag object where the remote does not dereference."""
    label: str
    """What the revision string says before ``@``; empty for a bare commit."""
    tag: Tag | None = None
    """The tag, where the reference names one."""

    @property
    def revision(self) -> str:
        """The revision string that status, events and consumers carry."""
        return revision(self.label, self.sha)


@dataclass(frozen=True, slots=True)
class Exact:
    """Means whatever one reference of the remote points at: a branch, a tag, any full name."""

    ref: str
    """The full name, such as ``refs/heads/main``."""
    label: str
    """How the revision string names it."""

    @property
    def prefix(self) -> str:
        """The advertised names needed to resolve this."""
        return self.ref

    def candidates(self, refs: Refs) -> list[Candidate]:
        """Return the one commit this means.

        Raises:
            UnresolvedError: the remote has no such reference.
        """
        sha = _peeled(refs, self.ref)
        if sha is None:
            raise UnresolvedError(f'couldn\'t find remote ref "{self.ref}"')
        return [Candidate(sha, self.label, _tag(refs, self.ref))]


@dataclass(frozen=True, slots=True)
class Newest:
    """Means the tag with the highest version inside a range."""

    range: str
    """In the language of `sources.semver`."""

    @property
    def prefix(self) -> str:
        """The advertised names needed to resolve this."""
        return TAGS

    def candidates(self, refs: Refs) -> list[Candidate]:
        """Return every tag of the highest version; of several the newest commit is meant.

        Raises:
            UnresolvedError: the range is none, or no tag is in it.
        """
        try:
            admitted = semver.Range(self.range)
        except semver.InvalidRangeError as err:
            raise UnresolvedError(f"semver parse error: {err}") from err
        names = [name.removeprefix(TAGS) for name in refs if name.startswith(TAGS)]
        versions = {name: version for name in names if (version := semver.parse(name))}
        matching = {name: version for name, version in versions.items() if admitted.admits(version)}
        if not matching:
            raise UnresolvedError(f"no match found for semver: {self.range}")
        highest = max(matching.values())
        tags = sorted(name for name, version in matching.items() if version == highest)
        return [
            Candidate(_peeled(refs, TAGS + tag) or "", tag, _tag(refs, TAGS + tag)) for tag in tags
        ]


@dataclass(frozen=True, slots=True)
class Pinned:
    """Means one commit, whatever the remote's references say."""

    sha: str
    branch: str = ""
    """The branch whose history holds it; any branch where empty."""

    @property
    def prefix(self) -> str:
        """The advertised names needed to reach this."""
        return f"{HEADS}{self.branch}"

    def tips(self, refs: Refs) -> list[str]:
        """Return the heads of the branches whose history is to be searched for the commit.

        Raises:
            UnresolvedError: there is no such branch.
        """
        found = {sha for name, sha in refs.items() if not self.branch or name == self.prefix}
        if not found:
            raise UnresolvedError(f'couldn\'t find remote ref "{self.prefix}"')
        return sorted(found)

    def candidates(self, refs: Refs) -> list[Candidate]:
        """Return the one commit this means; the remote is not asked.

        Raises:
            UnresolvedError: not a full SHA-1.
        """
        if not _FULL_SHA.fullmatch(self.sha):
            raise UnresolvedError(
                f"unable to resolve commit object for '{self.sha}': "
                "give the full SHA-1 of 40 hexadecimal digits"
            )
        return [Candidate(self.sha, self.branch)]


Reference: TypeAlias = Exact | Newest | Pinned


def revision(label: str, sha: str) -> str:
    """Return the revision string of a commit."""
    return f"{label}@sha1:{sha}" if label else f"sha1:{sha}"


def reference(ref: GitRef | None) -> Reference:
    """Return what ``spec.ref`` means; the first field that is set wins, in Flux's order."""
    if ref is None:
        return _branch(DEFAULT_BRANCH)
    if ref.commit:
        return Pinned(ref.commit, ref.branch)
    if ref.name:
        return Exact(ref.name, ref.name)
    if ref.tag:
        return Exact(f"{TAGS}{ref.tag}", ref.tag)
    if ref.semver:
        return Newest(ref.semver)
    return _branch(ref.branch or DEFAULT_BRANCH)


def _branch(name: str) -> Exact:
    return Exact(f"{HEADS}{name}", name)


def _peeled(refs: Refs, name: str) -> str | None:
    return refs.get(name + PEELED) or refs.get(name)


def _tag(refs: Refs, name: str) -> Tag | None:
    if not name.startswith(TAGS):
        return None
    is_annotated = name + PEELED in refs
    return Tag(name.removeprefix(TAGS), refs[name] if is_annotated else "")
