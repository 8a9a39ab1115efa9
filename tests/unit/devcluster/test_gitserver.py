"""The Git server and its repositories, by the eyes of the real git."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.gitserver import GitError, GitServer, git

if TYPE_CHECKING:
    from pathlib import Path


def test_clone_over_http_sees_the_pushed_commit(git_server: GitServer, tmp_path: Path) -> None:
    commit = git_server.repo("fleet").push({"a/b.txt": "hello\n"})
    git(tmp_path, "clone", "-q", git_server.url("fleet"), "copy")
    assert git(tmp_path / "copy", "rev-parse", "HEAD") == commit
    assert (tmp_path / "copy/a/b.txt").read_text() == "hello\n"
    assert "service=git-upload-pack" in git_server.requests[0].path
    assert git_server.requests[0].user_agent.startswith("git/")


def test_push_over_http_reaches_the_bare_repository(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    git(tmp_path, "clone", "-q", git_server.url("fleet"), "copy")
    (tmp_path / "copy/large").write_bytes(bytes(range(256)) * 8000)
    git(tmp_path / "copy", "add", "large")
    git(tmp_path / "copy", "commit", "-qm", "Add")
    git(tmp_path / "copy", "-c", "http.postBuffer=1000", "push", "-q")
    assert git(repo.bare, "rev-parse", "main") == git(tmp_path / "copy", "rev-parse", "HEAD")


def test_shallow_fetch_of_one_commit_by_its_id(git_server: GitServer, tmp_path: Path) -> None:
    repo = git_server.repo("fleet")
    first = repo.push({"a": "1"})
    repo.push({"a": "2"})
    git(tmp_path, "init", "-q", "copy")
    git(tmp_path / "copy", "fetch", "-q", "--depth=1", git_server.url("fleet"), first)
    assert git(tmp_path / "copy", "show", "FETCH_HEAD:a") == "1"


def test_missing_repository_is_an_error(git_server: GitServer, tmp_path: Path) -> None:
    with pytest.raises(GitError, match="not found"):
        git(tmp_path, "ls-remote", git_server.url("nothing"))


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"basic": ("ada", "s3cret")}, "Authorization: Basic YWRhOnMzY3JldA=="),
        ({"bearer": "t0ken"}, "Authorization: Bearer t0ken"),
    ],
)
def test_credentials_are_asked_for(tmp_path: Path, options: dict[str, str], header: str) -> None:
    with GitServer(tmp_path / "git", **options) as server:  # type: ignore[arg-type]  # one of two types
        server.repo("fleet").push({"a": "1"})
        with pytest.raises(GitError, match="could not read Username"):
            git(tmp_path, "ls-remote", server.url("fleet"))
        assert "main" in git(
            tmp_path, "-c", f"http.extraHeader={header}", "ls-remote", server.url("fleet")
        )


def test_tls_is_trusted_through_its_own_authority_alone(tmp_path: Path) -> None:
    with GitServer(tmp_path / "git", tls=True) as server:
        server.repo("fleet").push({"a": "1"})
        (tmp_path / "ca.pem").write_bytes(server.ca)
        ca = f"http.sslCAInfo={tmp_path / 'ca.pem'}"
        assert "main" in git(tmp_path, "-c", ca, "ls-remote", server.url("fleet"))
        with pytest.raises(GitError, match="certificate"):
            git(tmp_path, "ls-remote", server.url("fleet"))


def test_stalled_request_is_answered_when_the_stall_ends(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.repo("fleet").push({"a": "1"})
    with git_server.stalled():
        client = subprocess.Popen(
            ["git", "ls-remote", git_server.url("fleet")], cwd=tmp_path, stdout=subprocess.PIPE
        )
        git_server.wait_for_requests(1)
        assert client.poll() is None
    assert b"refs/heads/main" in client.communicate()[0]


def test_refused_requests_carry_the_status(git_server: GitServer, tmp_path: Path) -> None:
    git_server.repo("fleet").push({"a": "1"})
    with git_server.refusing(503), pytest.raises(GitError, match="503"):
        git(tmp_path, "ls-remote", git_server.url("fleet"))
    assert "main" in git(tmp_path, "ls-remote", git_server.url("fleet"))


def test_connections_that_are_hung_up_have_no_answer(git_server: GitServer, tmp_path: Path) -> None:
    with git_server.hanging_up(), pytest.raises(GitError, match=r"[Ee]mpty reply"):
        git(tmp_path, "ls-remote", git_server.url("fleet"))


def test_answer_that_is_cut_off_fails_the_clone(git_server: GitServer, tmp_path: Path) -> None:
    git_server.repo("fleet").push({"large": bytes(range(256)) * 4000})
    with git_server.cutting_off(700), pytest.raises(GitError):
        git(tmp_path, "clone", "-q", git_server.url("fleet"), "copy")


def test_waiting_for_a_request_that_does_not_come_ends(git_server: GitServer) -> None:
    with pytest.raises(TimeoutError, match="0 requests, waited for 1"):
        git_server.wait_for_requests(1, timeout_s=0.01)


def test_open_connection_does_not_keep_the_server(tmp_path: Path) -> None:
    import http.client

    with GitServer(tmp_path / "git") as server:
        server.repo("fleet").push({"a": "1"})
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/fleet.git/info/refs?service=git-upload-pack")
        connection.getresponse().read()
    connection.close()
    assert not [thread for thread in threading.enumerate() if "process_request" in thread.name]


def test_rewrite_moves_the_branch_and_the_old_commit_can_be_forgotten(
    git_server: GitServer,
) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1"})
    old = repo.push({"a": "2"})
    new = repo.rewrite({"a": "3"})
    assert git(repo.bare, "rev-parse", "main") == new
    assert git(repo.bare, "cat-file", "-t", old) == "commit"
    repo.forget()
    with pytest.raises(GitError):
        git(repo.bare, "cat-file", "-t", old)


def test_tags_branches_and_deletions_reach_the_server(git_server: GitServer) -> None:
    repo = git_server.repo("fleet")
    repo.push({"a": "1", "b": "1"})
    repo.tag("v1.0.0")
    repo.tag("v1.1.0", annotation="better")
    repo.switch("next")
    repo.push({}, delete=["b"])
    assert git(repo.bare, "ls-tree", "--name-only", "next") == "a"
    assert git(repo.bare, "cat-file", "-t", "v1.1.0") == "tag"
    repo.switch("main")
    assert repo.branch == "main"
    repo.delete_ref("refs/heads/next")
    repo.delete_ref("refs/tags/v1.0.0")
    assert git(repo.bare, "for-each-ref", "--format=%(refname)").splitlines() == [
        "refs/heads/main",
        "refs/tags/v1.1.0",
    ]


def test_symlink_is_committed_as_one(git_server: GitServer) -> None:
    repo = git_server.repo("fleet")
    repo.symlink("outside", "/etc/hostname")
    repo.commit("Link")
    assert git(repo.bare, "ls-tree", "main").startswith("120000 blob")
