"""Ignore rules: layers, Flux's judgement, and the real git's wherever the two agree."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources import ignore

if TYPE_CHECKING:
    from pathlib import Path


def excluded(paths: list[str], text: str | None, *files: tuple[str, str]) -> set[str]:
    rules = ignore.rules(files, text)
    return {path for path in paths if rules.excludes(path)}


@pytest.mark.parametrize("path", [".git/config", ".gitignore", "a/.gitmodules", "a/.gitattributes"])
def test_version_control_stays_out_always(path: str) -> None:
    assert excluded([path], "*.md") == {path}


@pytest.mark.parametrize(
    "path",
    [
        "logo.png",
        "a/b.tar.gz",
        ".github/workflows/ci.yaml",
        ".sops.yaml",
        "apps/.flux.yaml",
        ".goreleaser.yml",
        "cloudbuild.yaml",
    ],
)
def test_default_list_stands_in_where_the_user_says_nothing(path: str) -> None:
    assert excluded([path], None) == {path}
    assert excluded([path], "") == {path}
    assert excluded([path], "# only a comment\n\n") == {path}
    assert excluded([path], "unrelated") == set()
    assert excluded([path], None, ("", "unrelated")) == set()


def test_everything_but_one_directory() -> None:
    paths = ["README.md", "deploy/app.yaml", "deploy/sub/x.yaml", "src/deploy/x"]
    assert excluded(paths, "/*\n!/deploy") == {"README.md", "src/deploy/x"}


def test_file_below_an_excluded_directory_can_be_taken_back_in() -> None:
    assert excluded(["deploy/app/a.yaml", "deploy/b"], "/*\n!/deploy/app") == {"deploy/b"}


def test_last_pattern_that_matches_decides() -> None:
    paths = ["a.md", "docs/a.md"]
    assert excluded(paths, "*.md\n!docs/\n") == {"a.md"}
    assert excluded(paths, "!docs/\n*.md\n") == set(paths)


def test_ignore_file_holds_for_its_own_directory() -> None:
    paths = ["x.yaml", "apps/x.yaml", "apps/sub/x.yaml", "apps/top.yaml"]
    files = (("apps", "x.yaml\n/top.yaml\n"),)
    assert excluded(paths, None, *files) == set(paths[1:])


def test_spec_comes_after_the_files_and_wins() -> None:
    assert excluded(["a.md", "b.md"], "!a.md", ("", "*.md")) == {"b.md"}


def test_directory_with_special_characters_is_taken_literally() -> None:
    paths = ["a+b/x", "aab/x"]
    assert excluded(paths, None, ("a+b", "x")) == {"a+b/x"}


def test_hostile_pattern_ends_at_once() -> None:
    pattern = "*a" * 40 + "b"
    begin = time.perf_counter()
    assert not excluded(["a" * 255, "/".join(["a" * 60] * 30)], pattern)
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize("pattern", ["[", "[a", "a[", "\\", "!", "/", "[z-a]", "//", "!/"])
def test_void_pattern_matches_nothing(pattern: str) -> None:
    assert excluded(["a", "[", "z", "a/b"], pattern) == set()


PARTS = ["a", "b", "ab", "a.c", "x y", "-"]
FILES = sorted({f"{first}/{second}/ab" for first in PARTS for second in PARTS} | {"c", "ab.c"})
PATTERN = st.lists(
    st.sampled_from(["a", "b", "ab", "*", "?", "**", "[ab]", "[!a]", "[a-b]*", "a*", "*.c", "\\a"]),
    min_size=1,
    max_size=3,
).map("/".join)


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.sampled_from(["", "/"]), PATTERN, st.sampled_from(["", "/"])).map("".join),
        min_size=1,
        max_size=4,
    )
)
def test_exclusions_agree_with_git(tree: Path, lines: list[str]) -> None:
    """Git and Flux differ only in taking files back in, so no pattern here is negated."""
    (tree / ".git" / "info" / "exclude").write_text("\n".join(lines) + "\n")
    answer = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin", "--no-index"],
        cwd=tree,
        input="\0".join(FILES).encode(),
        capture_output=True,
        check=False,
    )
    by_git = set(answer.stdout.decode().split("\0")) - {""}
    assert excluded(FILES, "\n".join(lines)) == by_git


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose directories exist, so that git knows which they are."""
    root = tmp_path_factory.mktemp("ignore")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for path in FILES:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root
