"""The Git server of the tests: a real one, which the demo uses too.

::

    def test_something(git_server: GitServer) -> None:
        repo = git_server.repo("fleet")
        commit = repo.push({"k8s/app.yaml": "..."})
        with git_server.refusing(503):
            ...
        assert len(git_server.requests) == 2

Options that only some tests need (credentials, TLS) are arguments of `GitServer`, which is a
context manager.
"""

from __future__ import annotations

from devcluster.gitrepo import GitError, Repo, git
from devcluster.gitserver import GitServer, Request

__all__ = ["GitError", "GitServer", "Repo", "Request", "git"]
