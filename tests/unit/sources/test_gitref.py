"""What ``spec.ref`` means against a remote's references."""

from __future__ import annotations

import pytest

from api.source import GitRef
from sources import gitref

A, B, C = "a" * 40, "b" * 40, "c" * 40
REFS = {
    "refs/heads/main": A,
    "refs/heads/main-2": B,
    "refs/tags/v1.0.0": C,
    "refs/tags/v1.0.0^{}": A,
    "refs/tags/1.1.0": B,
    "refs/tags/latest": C,
}


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (None, gitref.Exact("refs/heads/master", "master")),
        (GitRef(), gitref.Exact("refs/heads/master", "master")),
        (GitRef(branch="a/b"), gitref.Exact("refs/heads/a/b", "a/b")),
        (GitRef(semver="1.x", branch="main"), gitref.Newest("1.x")),
        (GitRef(tag="v1", semver="1.x"), gitref.Exact("refs/tags/v1", "v1")),
        (GitRef(name="refs/x", tag="v1"), gitref.Exact("refs/x", "refs/x")),
        (GitRef(commit=A, name="refs/x"), gitref.Pinned(A)),
        (GitRef(commit=A, branch="main"), gitref.Pinned(A, "main")),
    ],
)
def test_first_field_in_order_wins(ref: GitRef | None, expected: gitref.Reference) -> None:
    assert gitref.reference(ref) == expected


@pytest.mark.parametrize(
    ("ref", "revision"),
    [
        (GitRef(branch="main"), f"main@sha1:{A}"),
        (GitRef(tag="v1.0.0"), f"v1.0.0@sha1:{A}"),
        (GitRef(tag="latest"), f"latest@sha1:{C}"),
        (GitRef(semver=">=1.0.0"), f"1.1.0@sha1:{B}"),
        (GitRef(name="refs/heads/main"), f"refs/heads/main@sha1:{A}"),
        (GitRef(name="refs/tags/v1.0.0"), f"refs/tags/v1.0.0@sha1:{A}"),
        (GitRef(commit=B), f"sha1:{B}"),
        (GitRef(commit=B, branch="main"), f"main@sha1:{B}"),
    ],
)
def test_revision_strings_are_as_in_flux(ref: GitRef, revision: str) -> None:
    (candidate,) = gitref.reference(ref).candidates(REFS)
    assert candidate.revision == revision


def test_equal_versions_are_all_candidates() -> None:
    refs = {"refs/tags/v1.0.0": A, "refs/tags/1.0.0": B, "refs/tags/0.9.0": C}
    found = gitref.Newest("*").candidates(refs)
    assert [each.label for each in found] == ["1.0.0", "v1.0.0"]


def test_pinned_commit_is_looked_for_in_its_branch_alone() -> None:
    assert gitref.Pinned(C, "main").tips(REFS) == [A]
    assert gitref.Pinned(C).tips({"refs/heads/x": A, "refs/heads/y": B}) == [A, B]


@pytest.mark.parametrize(
    "ref",
    [
        GitRef(branch="mai"),
        GitRef(tag="v1"),
        GitRef(name="refs/heads"),
        GitRef(semver="9.x"),
        GitRef(semver="not a range"),
        GitRef(commit="abc123"),
        GitRef(commit=A.upper()),
    ],
)
def test_reference_that_means_nothing_is_refused(ref: GitRef) -> None:
    with pytest.raises(gitref.UnresolvedError):
        gitref.reference(ref).candidates(REFS)


def test_pinned_commit_on_a_branch_that_is_not_there() -> None:
    with pytest.raises(gitref.UnresolvedError):
        gitref.Pinned(A, "nope").tips(REFS)
