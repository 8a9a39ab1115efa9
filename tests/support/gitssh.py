"""A Git server over SSH: a real SSH server that runs ``git upload-pack``.

::

    async with gitssh.running(tmp_path) as server:
        server.repo("fleet").push({"a": "1"})
        server.url("fleet")             # ssh://git@127.0.0.1:<port>/fleet.git
        server.identity                 # a key it lets in, and its own in known_hosts
"""

from __future__ import annotations

import asyncio
import shlex
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import asyncssh

from devcluster.gitrepo import Repo
from sources.auth.ssh import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass
class Server:
    """One such server."""

    root: Path
    host_key: asyncssh.SSHKey
    client_key: asyncssh.SSHKey
    port: int = 0
    users: list[str] = field(default_factory=list)
    """Who ran each command."""
    connections: set[int] = field(default_factory=set)
    """Whence each connection came."""
    is_stalled: bool = False
    """Whether commands get no answer."""
    _open: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    def repo(self, name: str) -> Repo:
        """Make a repository, or open it."""
        return Repo(self.root / f"{name}.git", self.root / f"{name}.work", branch="main")

    def url(self, name: str, user: str = "git@") -> str:
        """Return the URL of a repository."""
        return f"ssh://{user}127.0.0.1:{self.port}/{name}.git"

    def known_hosts(self, key: asyncssh.SSHKey | None = None) -> bytes:
        """Return the line that knows this server by its key, or by another one."""
        public = (key or self.host_key).export_public_key().decode()
        return f"[127.0.0.1]:{self.port} {public}".encode()

    @cached_property
    def identity(self) -> Identity:
        """What the server lets in; exported once, since no two exports of a key are equal."""
        return Identity(self.client_key.export_private_key(), self.known_hosts())

    def hang_up(self) -> None:
        """End every connection at once."""
        while self._open:
            self._open.pop().abort()

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run one command for a client."""
        self.users.append(process.get_extra_info("username"))
        self.connections.add(process.get_extra_info("peername")[1])
        self._open.append(process.get_extra_info("connection"))
        command, path = shlex.split(process.command or "")
        target = self.root / path.lstrip("/")
        if command != "git-upload-pack" or not target.is_dir():
            said = f"fatal: '{path}' does not appear to be a git repository\n"
            process.stderr.write(said.encode())
            process.exit(128)
            return
        if self.is_stalled:
            await process.wait_closed()
            return
        child = await asyncio.create_subprocess_exec(
            "git", "upload-pack", str(target),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={"GIT_PROTOCOL": process.env.get("GIT_PROTOCOL", ""), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(process.stdin, child.stdin))
            tasks.create_task(_copy(child.stdout, process.stdout))
        status = await child.wait()
        with suppress(OSError):  # the client has what it wants, and may have gone
            process.exit(status)


async def _copy(reader: Any, writer: Any) -> None:
    with suppress(OSError, asyncssh.Error):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    if isinstance(writer, asyncio.StreamWriter):
        writer.close()


@cache
def key(algorithm: str, name: str = "") -> asyncssh.SSHKey:
    """Return a key pair, the same for the same arguments."""
    return asyncssh.generate_private_key(algorithm, comment=name)


@asynccontextmanager
async def running(
    root: Path, *, host: str = "ssh-ed25519", client: str = "ssh-ed25519"
) -> AsyncIterator[Server]:
    """Serve the repositories below a folder on a free port of 127.0.0.1."""
    server = Server(root, key(host, "host"), key(client, "client"))
    allowed = asyncssh.import_authorized_keys(server.client_key.export_public_key().decode())
    options: dict[str, Any] = {"encoding": None, "allow_scp": False, "login_timeout": 60}
    listener = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[server.host_key], authorized_client_keys=allowed,
        process_factory=server.serve, **options,
    )  # fmt: skip
    server.port = listener.get_port()
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
