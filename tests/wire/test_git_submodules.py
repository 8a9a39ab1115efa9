"""Submodules from real Git servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devcluster.gitrepo import git as run_git
from devcluster.gitserver import GitServer
from sources import git, giterrors, gitmodules, gitstore
from sources.auth.basic import Credentials
from sources.composed import ComposedTree
from tests.support import gitfetch, gitssh

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.gitrepo import Repo
    from tests.support.gitfetch import Fetching


def link(repo: Repo, path: str, url: str, commit: str) -> str:
    """Add a submodule without fetching it, and push."""
    modules = repo.work / ".gitmodules"
    run_git(repo.work, "config", "-f", str(modules), f"submodule.{path}.path", path)
    run_git(repo.work, "config", "-f", str(modules), f"submodule.{path}.url", url)
    run_git(repo.work, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    run_git(repo.work, "add", ".gitmodules")
    run_git(repo.work, "commit", "--quiet", "-m", f"Add {path}")
    run_git(repo.work, "push", "--quiet", "origin", "HEAD")
    return repo.head


async def files(
    fetching: Fetching, repository: git.Repository, sparse: tuple[str, ...] = ()
) -> dict[str, str]:
    """Fetch a repository with its submodules; return its files."""
    commit = await fetching.commit(repository)
    submodules = await fetching.fetcher.submodules(repository, commit, sparse)
    tree = ComposedTree([commit.files(), *gitmodules.parts(submodules)], None, sparse=sparse)

    def read() -> dict[str, str]:
        return {each.path: tree.read(each.path).decode() for each in tree.entries()}

    return await fetching.threads.run(read)


async def test_submodules_and_theirs_are_fetched_at_the_commits_named(
    git_server: GitServer, tmp_path: Path
) -> None:
    inner = git_server.repo("inner")
    pinned = inner.push({"deep.yaml": "1"})
    inner.push({"deep.yaml": "2"})
    library = git_server.repo("library")
    library.push({"lib.yaml": "1"})
    linked = link(library, "nested/inner", "../inner.git", pinned)
    fleet = git_server.repo("fleet")
    fleet.push({"app.yaml": "1"})
    link(fleet, "vendor/library", git_server.url("library"), linked)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        assert await files(fetching, git.Repository(git_server.url("fleet"))) == {
            "app.yaml": "1",
            "vendor/library/lib.yaml": "1",
            "vendor/library/nested/inner/deep.yaml": "1",
        }


async def test_unchanged_submodule_costs_no_request(git_server: GitServer, tmp_path: Path) -> None:
    sha = git_server.repo("library").push({"lib.yaml": "1"})
    fleet = git_server.repo("fleet")
    fleet.push({"app.yaml": "1"})
    link(fleet, "lib", "../library.git", sha)
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        await files(fetching, repository)
        run_git(fleet.work, "commit", "--quiet", "--allow-empty", "-m", "Nothing")
        run_git(fleet.work, "push", "--quiet", "origin", "HEAD")
        before = len(git_server.requests)
        await files(fetching, repository)
        paths = {each.path.partition("/info")[0] for each in git_server.requests[before:]}
        assert paths == {"/fleet.git/git-upload-pack"}


async def test_commit_that_no_branch_has_any_more_is_fetched_all_the_same(
    git_server: GitServer, tmp_path: Path
) -> None:
    library = git_server.repo("library")
    library.push({"lib.yaml": "0"})
    gone = library.push({"lib.yaml": "1"})
    library.rewrite({"lib.yaml": "2"})
    fleet = git_server.repo("fleet")
    link(fleet, "lib", "../library.git", gone)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        assert await files(fetching, repository) == {"lib/lib.yaml": "1"}


async def test_credentials_go_to_the_same_server_and_to_no_other(tmp_path: Path) -> None:
    with (
        GitServer(tmp_path / "git", basic=("ada", "secret")) as ours,
        GitServer(tmp_path / "theirs") as theirs,
    ):
        near = ours.repo("near").push({"n": "1"})
        far = theirs.repo("far").push({"f": "1"})
        fleet = ours.repo("fleet")
        link(fleet, "near", "../near.git", near)
        link(fleet, "far", theirs.url("far"), far)
        async with gitfetch.running(tmp_path / "stores") as fetching:
            repository = git.Repository(ours.url("fleet"), Credentials("ada", "secret"))
            assert await files(fetching, repository) == {"near/n": "1", "far/f": "1"}
        assert {request.authorization for request in theirs.requests} == {""}


async def test_submodules_over_ssh(tmp_path: Path) -> None:
    async with gitssh.running(tmp_path / "git") as server:
        sha = server.repo("library").push({"lib.yaml": "1"})
        fleet = server.repo("fleet")
        link(fleet, "lib", "../library.git", sha)
        async with gitfetch.running(tmp_path / "stores") as fetching:
            repository = git.Repository(server.url("fleet"), Credentials(ssh=server.identity))
            assert await files(fetching, repository) == {"lib/lib.yaml": "1"}


async def test_only_submodules_that_are_checked_out_are_fetched(
    git_server: GitServer, tmp_path: Path
) -> None:
    sha = git_server.repo("library").push({"lib.yaml": "1", "docs/x.md": "x"})
    fleet = git_server.repo("fleet")
    fleet.push({"app/a.yaml": "1"})
    link(fleet, "vendor/library", "../library.git", sha)
    link(fleet, "vendor/missing", "../missing.git", sha)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository(git_server.url("fleet"))
        sparse = ("app", "vendor/library/docs")
        assert await files(fetching, repository, sparse) == {
            "app/a.yaml": "1",
            "vendor/library/docs/x.md": "x",
        }


async def test_link_without_a_url_and_url_without_a_link_are_passed_over(
    git_server: GitServer, tmp_path: Path
) -> None:
    fleet = git_server.repo("fleet")
    sha = fleet.push({"a": "1", ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ../x.git\n'})
    run_git(fleet.work, "update-index", "--add", "--cacheinfo", f"160000,{sha},y")
    run_git(fleet.work, "commit", "--quiet", "-m", "Link")
    run_git(fleet.work, "push", "--quiet", "origin", "HEAD")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        assert await files(fetching, git.Repository(git_server.url("fleet"))) == {"a": "1"}


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("../nope.git", "unable to clone 'http://127.0.0.1:{port}/nope.git': repository not found"),
        ("file:///etc", "unable to update submodule 'lib': 'file:///etc' is no http, https or ssh"),
        ("git@127.0.0.1:x.git", "unable to update submodule 'lib': the repository's credentials"),
    ],
)
async def test_submodule_that_cannot_be_fetched_is_named(
    git_server: GitServer, tmp_path: Path, url: str, text: str
) -> None:
    fleet = git_server.repo("fleet")
    sha = fleet.push({"a": "1"})
    link(fleet, "lib", url, sha)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(giterrors.GitOperationError) as caught:
            await files(fetching, git.Repository(git_server.url("fleet")))
    assert text.format(port=git_server.port) in caught.value.message


async def test_commit_that_is_gone_is_named(git_server: GitServer, tmp_path: Path) -> None:
    git_server.repo("library").push({"a": "1"})
    link(git_server.repo("fleet"), "lib", "../library.git", "a" * 40)
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(giterrors.GitOperationError, match=f"object {'a' * 40} not found"):
            await files(fetching, git.Repository(git_server.url("fleet")))


async def test_modules_that_do_not_parse_are_an_error(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.repo("fleet").push({".gitmodules": "[submodule\n"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(giterrors.GitOperationError, match=r"unable to read \.gitmodules"):
            await files(fetching, git.Repository(git_server.url("fleet")))


async def test_nesting_without_end_is_given_up(
    git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gitmodules, "MAX_DEPTH", 2)
    sha = ""
    for number in range(gitmodules.MAX_DEPTH + 2):
        repo = git_server.repo(f"r{number}")
        sha = link(repo, "x", f"../r{number - 1}.git", sha) if sha else repo.push({"a": "1"})
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(giterrors.GitOperationError, match="nested 2 deep"):
            await files(fetching, git.Repository(git_server.url(f"r{gitmodules.MAX_DEPTH + 1}")))


async def test_damaged_store_of_a_submodule_is_the_one_that_is_mended(
    git_server: GitServer, tmp_path: Path
) -> None:
    sha = git_server.repo("library").push({"lib.yaml": "text " * 1000})
    fleet = git_server.repo("fleet")
    fleet.push({"app.yaml": "1"})
    link(fleet, "lib", "../library.git", sha)
    repository = git.Repository(git_server.url("fleet"))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        whole = await files(fetching, repository)
        fetcher = fetching.fetcher
        commit = await fetching.commit(repository)
        (submodule,) = await fetcher.submodules(repository, commit)
        store = submodule.commit.store
        await fetching.threads.run(store.close)
        (pack,) = store.objects_directory.rglob("*.pack")
        pack.chmod(0o600)
        pack.write_bytes(b"\0" * pack.stat().st_size)
        with pytest.raises(gitstore.DamagedError) as caught:
            await files(fetching, repository)
        await fetcher.mend(repository, caught.value)
        assert commit.store.holds(commit.sha)
        assert not store.holds(sha)
        assert await files(fetching, repository) == whole
