"""Signatures made without keys, verified by the official ``cosign`` program.

Who signed is told by a certificate of Sigstore's authority, and that it was valid then by an entry
in a transparency log. The roots of both come from Sigstore's own distribution, or from a file for
infrastructure of one's own. The program asks the registry by itself, with our login and what we
trust, which it gets in a home of its own that is gone afterwards; of this user's it sees nothing.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from runtime import privatefile, process
from sources.oci import names
from sources.oci.cosign import UnverifiedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runtime.limits import Processes, Threads
    from sources.auth.proxy import Proxy
    from sources.oci.client import Repository
    from sources.oci.keychain import Login

ANYONE: Final = ".*"
TRUSTED_ROOT: Final = "trusted_root.json"
"""The key of a Secret with the roots of one's own infrastructure."""
_HUB: Final = "https://index.docker.io/v1/"
"""What docker config files call Docker Hub."""
_MESSAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Identity:
    """Who may have signed, by regular expressions of Go."""

    issuer: str = ANYONE
    subject: str = ANYONE


@dataclass(frozen=True, slots=True)
class Cosign:
    """The program, and where it works.

    Args:
        program: its path.
        processes: runs it.
        threads: makes and removes its homes.
        folder: keeps the roots that Sigstore distributes, from run to run.
    """

    program: Path
    processes: Processes
    threads: Threads
    folder: Path

    async def verify(
        self,
        repository: Repository,
        digest: str,
        identities: Sequence[Identity],
        trusted_root: bytes = b"",
    ) -> None:
        """Return once one of the identities is found to have signed a manifest.

        Args:
            repository: the manifest's.
            digest: the manifest's.
            identities: who may have signed; anybody whom Sigstore knows where there is none.
            trusted_root: the content of a ``trusted_root.json``; empty for Sigstore's own.

        Raises:
            UnverifiedError: none of them has, or that cannot be told.
        """
        problems: list[str] = []
        async with self._home(repository, trusted_root) as home:
            for each in identities or (Identity(),):
                problem = await self._run(home, repository, digest, each)
                if not problem:
                    return
                problems.append(problem)
        raise UnverifiedError("; ".join(dict.fromkeys(problems)))

    async def _run(
        self, home: _Home, repository: Repository, digest: str, identity: Identity
    ) -> str:
        """Return why an identity cannot be found to have signed; empty where it has."""
        argv = [
            str(self.program),
            "verify",
            f"--certificate-oidc-issuer-regexp={identity.issuer}",
            f"--certificate-identity-regexp={identity.subject}",
            *home.arguments,
            f"{repository.name}@{digest}",
        ]
        try:
            done = await self.processes.run(
                argv, cwd=home.path, env=home.environment, timeout_s=repository.timeout_s
            )
        except process.ProcessError as err:
            return str(err)
        return _explain(done.stderr) if done.returncode else ""

    @asynccontextmanager
    async def _home(self, repository: Repository, trusted_root: bytes) -> AsyncIterator[_Home]:
        stack = ExitStack()
        try:
            yield await self.threads.run(
                _furnish, stack, repository, trusted_root, self.folder / "roots"
            )
        finally:
            await self.threads.run(stack.close)


@dataclass(frozen=True, slots=True)
class _Home:
    path: Path
    arguments: tuple[str, ...]
    environment: dict[str, str]


def _furnish(stack: ExitStack, repository: Repository, trusted_root: bytes, roots: Path) -> _Home:
    """Make a home with what the program needs; what is secret in it is on no disk."""
    roots.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitopsd-cosign-")))

    def held(name: str, content: bytes) -> Path:
        path = home / name
        path.symlink_to(stack.enter_context(privatefile.holding(content)))
        return path

    held("config.json", _docker_config(repository))
    arguments: list[str] = []
    for option, content in (
        ("--trusted-root", trusted_root),
        ("--registry-cacert", repository.trust.ca),
        ("--registry-client-cert", repository.trust.certificate),
        ("--registry-client-key", repository.trust.key),
    ):
        if content:
            arguments.append(f"{option}={held(option.strip('-'), content)}")
    if repository.trust.accepts_any:
        arguments.append("--allow-insecure-registry")
    if repository.insecure:
        arguments.append("--allow-http-registry")
    environment = {
        "HOME": str(home),
        "DOCKER_CONFIG": str(home),
        "TUF_ROOT": str(roots),
        **proxy_environment(repository.proxy),
    }
    return _Home(home, tuple(arguments), environment)


def _docker_config(repository: Repository) -> bytes:
    host = repository.name.host
    key = _HUB if host == names.DOCKER_HUB else host
    auths = {} if repository.login.is_anonymous else {key: _entry(repository.login)}
    return msgspec.json.encode({"auths": auths})


def _entry(login: Login) -> dict[str, str]:
    entry = {
        "auth": login.basic.removeprefix("Basic "),
        "identitytoken": login.refresh_token,
        "registrytoken": login.access_token,
    }
    return {key: value for key, value in entry.items() if value}


def proxy_environment(through: Proxy | None) -> dict[str, str]:
    """Return the variables by which a program learns of a proxy."""
    if through is None:
        return {}
    scheme, _, host = through.address.partition("://")
    user = quote(through.username, safe="")
    login = f"{user}:{quote(through.password, safe='')}@" if user else ""
    address = f"{scheme}://{login}{host}"
    return {"HTTP_PROXY": address, "HTTPS_PROXY": address}


def _explain(stderr: bytes) -> str:
    """Return the program's last complaint on one line."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines()]
    told = next((line for line in lines if line.startswith("Error: ")), "") or " ".join(lines)
    text = "".join(each for each in told.removeprefix("Error: ") if each.isprintable())
    return text[:_MESSAGE] or "cosign gave no reason"
