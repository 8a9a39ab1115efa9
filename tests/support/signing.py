"""Keys that sign commits and tags by the real git.

::

    with signing.pgp() as signer:
        sha = signer.commit(repo, {"a": "1"})
        signer.tag(repo, "1.0.0")
        signer.public       # what a Secret holds under a name with `signer.suffix`
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from devcluster.gitrepo import git

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from devcluster.gitrepo import Repo


@dataclass(frozen=True, eq=False)
class Signer:
    """One key."""

    public: bytes
    name: str
    """By what a verified signature is reported."""
    suffix: str
    """Of the key in a Secret."""
    options: tuple[str, ...]
    """What tells git to sign with it."""
    env: Mapping[str, str] = field(default_factory=dict)

    def commit(self, repo: Repo, files: Mapping[str, str], message: str = "Change") -> str:
        """Push a signed commit."""
        for name, text in files.items():
            path = repo.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git(repo.work, "add", "--all")
        line = [*self.options, "commit", "--quiet", "--allow-empty", "-S", "-m", message]
        git(repo.work, *line, env=self.env)
        git(repo.work, "push", "--quiet", "origin", "HEAD")
        return repo.head

    def tag(self, repo: Repo, name: str, *, force: bool = False) -> str:
        """Push a signed tag; return its object."""
        again = ["--force"] if force else []
        git(repo.work, *self.options, "tag", *again, "-s", "-m", "Release", name, env=self.env)
        git(repo.work, "push", "--quiet", *again, "origin", f"refs/tags/{name}")
        return git(repo.work, "rev-parse", f"refs/tags/{name}")


@dataclass(frozen=True)
class Gpg:
    """The program, with a home of its own; what it prints is returned."""

    home: Path

    def __call__(self, *arguments: str, text: bytes = b"") -> bytes:
        line = ["gpg", "--batch", "--no-tty", "--passphrase", "", "--pinentry-mode=loopback"]
        return subprocess.run(
            [*line, *arguments], input=text, env=self.env, check=True, capture_output=True
        ).stdout

    @property
    def env(self) -> dict[str, str]:
        return {"GNUPGHOME": str(self.home), "PATH": os.environ["PATH"]}


@contextmanager
def pgp_home() -> Iterator[Gpg]:
    """Make an empty home for ``gpg``; its path is short enough for sockets."""
    gpg = Gpg(Path(tempfile.mkdtemp(prefix="gpg-")))
    try:
        yield gpg
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=gpg.env, check=False)
        shutil.rmtree(gpg.home, ignore_errors=True)


@contextmanager
def pgp() -> Iterator[Signer]:
    """Make an OpenPGP key."""
    with pgp_home() as gpg:
        gpg("--quick-gen-key", "ada@example.com", "default", "sign", "never")
        listed = gpg("--list-keys", "--with-colons").decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr:"))
        options = ("-c", f"user.signingKey={fingerprint}")
        env = {"GNUPGHOME": str(gpg.home)}
        yield Signer(gpg("--armor", "--export"), fingerprint[-16:], ".asc", options, env)


@contextmanager
def ssh(kind: str = "ed25519") -> Iterator[Signer]:
    """Make an SSH key."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        keygen = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "ada@example.com"]
        size = ["-b", "2048"] if kind == "rsa" else []
        subprocess.run([*keygen, *size, "-f", str(path)], check=True)
        listed = subprocess.check_output(["ssh-keygen", "-l", "-f", path], text=True)
        public = path.with_suffix(".pub").read_bytes()
        options = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={path}")
        yield Signer(public, listed.split()[1], ".sshpub", options)
