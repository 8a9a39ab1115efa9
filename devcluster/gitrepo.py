"""Git repositories for tests and demo, made with the real git and nobody's settings but ours."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_ISOLATED = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}
_LIKE_GITHUB = {
    "http.receivepack": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "uploadpack.allowFilter": "true",
    "gc.auto": "0",
}


class GitError(DevclusterError):
    """git ended with an error; the message is what it wrote."""


def git(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run git in a folder and return what it prints, without the last line's end.

    Raises:
        GitError: it ended with another status than 0.
    """
    answer = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        | _ISOLATED
        | dict(env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise GitError(f"git {' '.join(arguments)}: {answer.stderr.strip()}")
    return answer.stdout.rstrip("\n")


class Repo:
    """A bare repository, as a server holds it, and a clone to work in.

    Every change is pushed at once, by path: a server's request count tells of its clients alone.

    Args:
        bare: the folder of the bare repository; made when it is not there.
        work: the folder of the clone.
        branch: the branch it starts on.
    """

    def __init__(self, bare: Path, work: Path, *, branch: str = "main") -> None:
        self.bare = bare
        self.work = work
        if not bare.exists():
            bare.mkdir(parents=True)
            git(bare, "init", "--quiet", "--bare", f"--initial-branch={branch}")
            for name, setting in _LIKE_GITHUB.items():
                git(bare, "config", name, setting)
        if not work.exists():
            git(bare.parent, "clone", "--quiet", str(bare), str(work))

    @property
    def head(self) -> str:
        """The commit that the clone is on."""
        return git(self.work, "rev-parse", "HEAD")

    @property
    def branch(self) -> str:
        """The branch that the clone is on."""
        return git(self.work, "branch", "--show-current")

    def push(
        self,
        files: Mapping[str, str | bytes],
        *,
        delete: Iterable[str] = (),
        message: str = "Change",
        force: bool = False,
    ) -> str:
        """Write files, delete others, commit all of it, push, and return the commit."""
        for name, content in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        doomed = list(delete)
        if doomed:
            git(self.work, "rm", "--quiet", "-r", "--", *doomed)
        return self.commit(message, force=force)

    def commit(self, message: str = "Change", *, force: bool = False) -> str:
        """Commit whatever the clone's folder holds, push it, and return the commit."""
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", message)
        self._push("HEAD", force=force)
        return self.head

    def symlink(self, name: str, target: str) -> None:
        """Make a symbolic link; the next push takes it along."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def rewrite(self, files: Mapping[str, str | bytes], *, message: str = "Rewritten") -> str:
        """Replace the last commit by another one and force-push it; return the new commit."""
        if git(self.work, "rev-list", "--count", "HEAD") == "1":
            git(self.work, "update-ref", "-d", "HEAD")
        else:
            git(self.work, "reset", "--quiet", "--hard", "HEAD~1")
        return self.push(files, message=message, force=True)

    def tag(self, name: str, *, annotation: str = "", commit: str = "HEAD") -> None:
        """Push a tag; an annotation makes it an annotated one. An existing tag is moved."""
        annotated = ["--annotate", "--message", annotation] if annotation else []
        git(self.work, "tag", "--force", *annotated, name, commit)
        self._push(f"refs/tags/{name}", force=True)

    def switch(self, branch: str) -> None:
        """Go to a branch, and make it, here and on the server, if it is not there."""
        exists = git(self.work, "branch", "--list", branch)
        git(self.work, "switch", "--quiet", *([] if exists else ["--create"]), branch)
        self._push("HEAD")

    def delete_ref(self, ref: str) -> None:
        """Delete a branch or tag (``refs/heads/x``, ``refs/tags/x``) on the server."""
        git(self.work, "push", "--quiet", "origin", "--delete", ref)

    def forget(self) -> None:
        """Drop what no ref reaches from the server's copy, as a provider does in time."""
        git(self.bare, "reflog", "expire", "--expire=now", "--all")
        git(self.bare, "gc", "--quiet", "--prune=now")

    def _push(self, ref: str, *, force: bool = False) -> None:
        git(self.work, "push", "--quiet", *(["--force"] if force else []), "origin", ref)
