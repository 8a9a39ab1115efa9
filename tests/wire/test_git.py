"""Fetching from a real Git server: what references mean, and what comes over the wire."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from api.source import GitRef
from devcluster.gitrepo import git as run_git
from sources import git, giterrors, gitref
from tests.support import gitfetch

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.gitserver import GitServer


async def test_branch_is_fetched_with_its_files(git_server: GitServer, tmp_path: Path) -> None:
    sha = git_server.repo("fleet").push({"k8s/app.yaml": "a: 1\n", "README.md": "hi\n"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        commit = await fetching.commit(repository)
        assert commit.revision == f"main@sha1:{sha}"
        assert await fetching.files(repository) == {"README.md": "hi\n", "k8s/app.yaml": "a: 1\n"}


async def test_subject_is_the_first_line_of_the_message(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.repo("fleet").push({"a": "1"}, message="Scale up\n\nBecause of Friday.")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        commit = await fetching.commit(git.Repository(git_server.url("fleet")))
        assert commit.subject == "Scale up"


async def test_push_transfers_only_what_is_new(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.push({f"files/{n}.txt": random.randbytes(400).hex() for n in range(200)})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        first = await fetching.commit(repository)
        whole = await fetching.threads.run(first.store.pack_bytes)
        repo.push({"files/7.txt": "changed"})
        await fetching.commit(repository)
        assert await fetching.threads.run(first.store.pack_bytes) - whole < whole / 5


async def test_new_process_goes_on_where_the_last_one_ended(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    repo.push({f"files/{n}.txt": random.randbytes(400).hex() for n in range(200)})
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        commit = await fetching.commit(repository)
        whole = await fetching.threads.run(commit.store.pack_bytes)
    repo.push({"files/7.txt": "changed"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        commit = await fetching.commit(repository)
        assert await fetching.threads.run(commit.store.pack_bytes) - whole < whole / 5
        files = await fetching.files(repository)
        assert files["files/7.txt"] == "changed"
        assert len(files["files/8.txt"]) == 800


async def test_poll_of_an_unchanged_branch_is_one_request(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.repo("fleet").push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        await fetching.commit(repository)
        before = len(git_server.requests)
        await fetching.commit(repository)
        assert len(git_server.requests) - before == 1


async def test_push_is_two_requests(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        await fetching.commit(repository)
        repo.push({"a": "2"})
        before = len(git_server.requests)
        await fetching.commit(repository)
        assert len(git_server.requests) - before == 2


async def test_many_who_ask_at_once_share_listings_and_one_fetch(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        await fetching.commit(repository)
        sha = repo.push({"a": "2"})
        before = len(git_server.requests)
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(fetching.commit(repository)) for _ in range(10)]
        assert {task.result().sha for task in asked} == {sha}
        assert len(git_server.requests) - before <= 3


async def test_rewritten_history_is_followed(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    repo.push({"a": "2", "gone": "x"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        await fetching.commit(repository)
        sha = repo.rewrite({"a": "3"})
        assert (await fetching.commit(repository)).sha == sha
        assert await fetching.files(repository) == {"a": "3"}


async def test_unrelated_history_is_followed(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        await fetching.commit(repository)
        run_git(repo.work, "switch", "--quiet", "--orphan", "other")
        sha = repo.push({"b": "1"})
        run_git(repo.work, "push", "--quiet", "--force", "origin", "other:main")
        assert (await fetching.commit(repository)).sha == sha
        assert await fetching.files(repository) == {"b": "1"}


async def test_commit_forced_away_and_collected_before_the_fetch_is_resolved_again(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        advertised = await fetching.fetcher.resolve(repository, gitfetch.MAIN)
        sha = repo.rewrite({"a": "2"})
        repo.forget()
        commit = await fetching.fetcher.fetch(repository, gitfetch.MAIN, advertised)
        assert commit.revision == f"main@sha1:{sha}"


async def test_lightweight_and_annotated_tags_mean_their_commit(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    sha = repo.push({"a": "1"})
    repo.tag("light")
    repo.tag("v1.0.0", annotation="First")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        for tag in ("light", "v1.0.0"):
            commit = await fetching.commit(repository, gitref.reference(GitRef(tag=tag)))
            assert commit.revision == f"{tag}@sha1:{sha}"


async def test_tag_that_moves_is_followed(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    repo.tag("stable", annotation="one")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        reference = gitref.reference(GitRef(tag="stable"))
        await fetching.commit(repository, reference)
        sha = repo.push({"a": "2"})
        repo.tag("stable", annotation="two")
        assert (await fetching.commit(repository, reference)).sha == sha


async def test_semver_takes_the_highest_tag_of_the_range(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    shas = {}
    for tag in ("v1.0.0", "v1.2.0", "v1.3.0-rc.1", "v2.0.0", "nightly"):
        shas[tag] = repo.push({"version": tag})
        repo.tag(tag, annotation=tag)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        for expression, tag in (
            ("1.x", "v1.2.0"),
            (">=1.0.0-0 <2", "v1.3.0-rc.1"),
            ("*", "v2.0.0"),
        ):
            commit = await fetching.commit(repository, gitref.reference(GitRef(semver=expression)))
            assert commit.revision == f"{tag}@sha1:{shas[tag]}"


async def test_of_equal_versions_the_newest_commit_wins(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    for tag, day in (("v1.0.0", 3), ("1.0.0", 1), ("v1.0.0+build", 2)):
        date = f"2026-01-0{day}T00:00:00Z"
        dates = {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date}
        run_git(repo.work, "commit", "--quiet", "--allow-empty", "-m", tag, env=dates)
        repo.tag(tag)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        commit = await fetching.commit(repository, gitref.reference(GitRef(semver="1.0.0")))
        assert commit.revision.startswith("v1.0.0@sha1:")


async def test_name_keeps_the_full_reference_name(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    sha = repo.push({"a": "1"})
    run_git(repo.work, "push", "--quiet", "origin", "HEAD:refs/pull/1/head")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        for name in ("refs/heads/main", "refs/pull/1/head"):
            commit = await fetching.commit(repository, gitref.reference(GitRef(name=name)))
            assert commit.revision == f"{name}@sha1:{sha}"


async def test_pinned_commit_is_found_in_the_history(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    sha = repo.push({"a": "1"})
    repo.push({"a": "2"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        bare = gitref.reference(GitRef(commit=sha))
        on_branch = gitref.reference(GitRef(commit=sha, branch="main"))
        assert (await fetching.commit(repository, bare)).revision == f"sha1:{sha}"
        assert (await fetching.commit(repository, on_branch)).revision == f"main@sha1:{sha}"
        assert await fetching.files(repository, bare) == {"a": "1"}


async def test_pinned_commit_that_is_here_costs_no_request(
    git_server: GitServer, tmp_path: Path
) -> None:
    sha = git_server.repo("fleet").push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        reference = gitref.reference(GitRef(commit=sha))
        await fetching.commit(repository, reference)
        before = len(git_server.requests)
        await fetching.commit(repository, reference)
        assert len(git_server.requests) == before


async def test_pinned_commit_outside_the_branches_is_refused(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    run_git(repo.work, "switch", "--quiet", "--create", "fork")
    sha = repo.push({"a": "evil"})
    run_git(repo.work, "push", "--quiet", "origin", "fork:refs/pull/7/head")
    repo.delete_ref("refs/heads/fork")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        with pytest.raises(giterrors.GitOperationError, match=f"object {sha} not found"):
            await fetching.commit(repository, gitref.reference(GitRef(commit=sha)))


async def test_branch_after_pinned_commit_of_the_same_repository(
    git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    pinned = repo.push({"a": "1"})
    repo.push({"a": "2"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        await fetching.commit(repository)
        await fetching.commit(repository, gitref.reference(GitRef(commit=pinned)))
        sha = repo.push({"a": "3"})
        assert (await fetching.commit(repository)).sha == sha


async def test_repository_of_other_files_than_text(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.symlink("link", "target")
    repo.push({"target": "x", "bin/run": "#!/bin/sh\n", "ünïcode/ß.yaml": "a", "empty": ""})
    run_git(repo.work, "update-index", "--chmod=+x", "bin/run")
    run_git(repo.work, "commit", "--quiet", "--message", "Executable")
    run_git(repo.work, "push", "--quiet", "origin", "HEAD")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        commit = await fetching.commit(git.Repository(git_server.url("fleet")))
        tree = commit.tree(None)
        modes = {each.path: each.mode for each in await fetching.threads.run(tree.entries)}
        assert modes == {"bin/run": 0o700, "empty": 0o600, "target": 0o600, "ünïcode/ß.yaml": 0o600}
