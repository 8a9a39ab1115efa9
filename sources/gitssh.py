"""One Git remote over SSH: the system's ``ssh`` carries, dulwich speaks Git. Blocking.

OpenSSH is on every machine that this runs on, knows every key type and host key rule, and costs
this process no memory. The private key reaches it as a file that exists in memory only, where the
system has such files, and for the time of one connection; nothing of the user's own configuration
of OpenSSH, keys or agent plays a part.

A connection stays for `LINGER_S` after its last use, so that what a listing announces is fetched
without a second handshake; it is a process of its own, which ends by itself even where we do not.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast
from urllib.parse import unquote, urlsplit

from dulwich.client import SSHGitClient
from dulwich.objects import ObjectID

from runtime import privatefile
from sources import gitclient, gitpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dulwich.protocol import Protocol
    from dulwich.refs import Ref

    from sources.auth.ssh import Identity
    from sources.gitclient import Abort
    from sources.gitref import Refs

DEFAULT_USER: Final = "git"
"""Who we are where the URL does not say."""
CLOSE_S: Final = 2.0
"""Seconds that ``ssh`` has to end when we are done with it."""
LINGER_S: Final = 10
"""Seconds that a connection stays for the next call; between polls it would only take memory."""
CHECK_S: Final = 10.0
"""Seconds that opening a key may take."""
_NOTHING: Final = b"refs/gitopsd/none"
"""A prefix that no reference has: what to fetch is known beforehand."""
_SOCKET_PATH: Final = 80
"""Bytes that a socket's path may have, so that there is room for what ``ssh`` adds to it."""
_STDERR_BYTES: Final = 8192
_ASKPASS: Final = '#!/bin/sh\nexec cat "$GITOPSD_PASSPHRASE_FILE"\n'
_OPTIONS: Final = (
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "NumberOfPasswordPrompts=1",
    f"ConnectTimeout={gitclient.CONNECT_S:.0f}",
    f"ServerAliveInterval={gitclient.READ_S / 2:.0f}",
    "ServerAliveCountMax=2",
    "LogLevel=ERROR",
)
_CHANGED: Final = (
    "the host key of {host} has changed and is not the one in 'known_hosts' of the secret: "
    "somebody may be in between; if the server really has a new key, compare its fingerprint "
    "and put the line of `ssh-keyscan {scan}` there"
)
_UNKNOWN: Final = (
    "'known_hosts' of the secret has no key of {host} that the server has: compare its "
    "fingerprint and add the line of `ssh-keyscan {scan}`"
)
_UNREADABLE: Final = "the 'identity' of the secret is of a type or format that ssh does not read"
_LOCKED: Final = "the 'password' of the secret does not open its 'identity'"
_REFUSED: Final = "authentication failed: the server refused the key for user '{user}'"
_MEANINGS: Final = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", _CHANGED),
    ("host key is known for", _UNKNOWN),
    ("Host key verification failed", _UNKNOWN),
    ("Load key", _UNREADABLE),
    ("Permission denied", _REFUSED),
    ("not appear to be a git repository", "repository not found"),
    ("epository not found", "repository not found"),
)
"""What ``ssh`` and servers write, and what we say instead; the first that is there counts."""


class SshError(Exception):
    """``ssh`` or what it reached said what is wrong."""


class Remote:
    """A remote repository; the same as `gitclient.Remote` in all but the transport.

    Args:
        url: its ``ssh://`` address.
        identity: our key, and the hosts we know.
    """

    def __init__(self, url: str, identity: Identity) -> None:
        self.url = url
        self.authorization = ""
        """Unused: the identity is all there is to present."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._user = unquote(parts.username or DEFAULT_USER)
        self._path = unquote(parts.path)
        self._identity = identity
        self._line = _Line()

    def list_refs(self, prefixes: Sequence[str], abort: Abort) -> Refs:
        """Return what the remote advertises under some name prefixes.

        Raises:
            Exception: see `gitclient.Remote.list_refs`; besides, `SshError`.
        """
        wanted = [prefix.encode() for prefix in prefixes]
        with abort.covering(), self._client(abort, gitclient.LISTING_BYTES) as client:
            answer = client.get_refs(self._path.encode(), ref_prefix=wanted)
        return gitclient.named(answer.refs)

    def fetch(
        self,
        wants: Sequence[str],
        haves: Sequence[str],
        *,
        depth: int | None,
        sink: Callable[[bytes], object],
        abort: Abort,
    ) -> None:
        """Receive a pack with some commits; see `gitclient.Remote.fetch`.

        Raises:
            Exception: see there; besides, `SshError`.
        """

        def receive(data: bytes) -> int:
            abort.check()
            sink(data)
            return len(data)

        def choose(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            return [ObjectID(sha.encode()) for sha in wants]

        known = gitclient.Haves([ObjectID(sha.encode()) for sha in haves] if depth else [])
        with abort.covering(), self._client(abort) as client:
            client.fetch_pack(
                self._path, choose, known, receive, depth=depth, ref_prefix=[_NOTHING]
            )

    def close(self) -> None:
        """End the connection that waits for the next call; the remote stays usable."""
        self._line.close(self._host)

    @contextmanager
    def _client(self, abort: Abort, limit: int | None = None) -> Iterator[SSHGitClient]:
        """Lend a client whose connections end with the block, and say what ``ssh`` said."""
        with ExitStack() as stack:
            vendor = _Vendor(self._identity, self._line, abort, stack, limit)
            client = _Client(self._host, self._port, self._user, vendor=vendor)  # type: ignore[arg-type]  # has the one method that is called
            client.stack = stack
            try:
                yield client
            except gitpack.LimitError:
                raise
            except Exception as err:
                text = self._meaning(vendor)
                if text:
                    # What dulwich saw, a connection that ended, would hide the reason.
                    raise SshError(text) from None
                raise err from err.__cause__

    def _meaning(self, vendor: _Vendor) -> str:
        """Return what the output of ``ssh`` means for users, empty where there is none."""
        said = vendor.said()
        scan = f"-p {self._port} {self._host}" if self._port else self._host
        for words, meaning in _MEANINGS:
            if words in said:
                if meaning in {_REFUSED, _UNREADABLE} and not vendor.opens():
                    return _LOCKED
                return meaning.format(host=self._host, scan=scan, user=self._user)
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return re.sub(r"^ssh: ", "", lines[-1]) if lines else ""


class _Client(SSHGitClient):
    """Dulwich's client, closing also the connections that failed."""

    stack: ExitStack

    def _connect(
        self, cmd: bytes, path: str | bytes, protocol_version: int | None = None
    ) -> tuple[Protocol, Callable[[], bool], IO[bytes] | None]:
        protocol, can_read, stderr = super()._connect(cmd, path, protocol_version)
        self.stack.callback(protocol.close)
        return protocol, can_read, stderr


class _Vendor:
    """Starts ``ssh`` for dulwich.

    Args:
        identity: our key, and the hosts we know.
        line: the connection to share.
        abort: ends the process when triggered.
        stack: ends the process and what it was given when left.
        limit: bytes that the server may send; None for no limit.
    """

    def __init__(
        self,
        identity: Identity,
        line: _Line,
        abort: Abort,
        stack: ExitStack,
        limit: int | None,
    ) -> None:
        self._limit = limit
        self._line = line
        self._identity = identity
        self._abort = abort
        self._stack = stack
        self._stderr: IO[bytes] | None = None
        self._key = ""
        self._environment = {"PATH": os.defpath, "LC_ALL": "C"}

    def run_command(
        self,
        host: str,
        command: bytes,
        username: str | None = None,
        port: int | None = None,
        protocol_version: int | None = None,
        **_: object,
    ) -> _Connection:
        """Connect, and run a command there; dulwich calls this."""
        files = self._stack.enter_context
        self._key = files(privatefile.holding(self._identity.private_key))
        self._prepare_passphrase()
        options = (
            *_OPTIONS,
            *self._line.options(),
            f"IdentityFile={self._key}",
            f"UserKnownHostsFile={files(privatefile.holding(self._identity.known_hosts))}",
            f"SetEnv=GIT_PROTOCOL=version={2 if protocol_version is None else protocol_version}",
        )
        line = [_program("ssh"), "-F", "none", "-x", "-T", "-l", username or DEFAULT_USER]
        for option in options:
            line += ["-o", option]
        line += ["-p", str(port)] if port else []
        self._stderr = files(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        child = subprocess.Popen(
            [*line, "--", host, command],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=self._environment,
            start_new_session=True,
        )
        connection = _Connection(child, self._limit)
        self._stack.callback(connection.close)
        self._abort.on_trigger(connection.kill)
        return connection

    def said(self) -> str:
        """Return the end of what ``ssh`` wrote to its standard error."""
        if self._stderr is None:
            return ""
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _STDERR_BYTES))
        return self._stderr.read().decode("utf-8", "replace")

    def opens(self) -> bool:
        """Tell whether the passphrase opens the key, of which ``ssh`` itself does not speak."""
        if not self._identity.passphrase:
            return True
        done = subprocess.run(
            [_program("ssh-keygen"), "-y", "-f", self._key],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self._environment,
            timeout=CHECK_S,
            start_new_session=True,
            check=False,
        )
        return done.returncode == 0

    def _prepare_passphrase(self) -> None:
        """Let ``ssh`` ask a program for the passphrase, since it takes it in no other way."""
        if not self._identity.passphrase:
            return
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        script = Path(folder, "askpass")
        script.touch(mode=0o700)
        script.write_text(_ASKPASS)
        secret = self._stack.enter_context(privatefile.holding(self._identity.passphrase))
        self._environment |= {
            "SSH_ASKPASS": str(script),
            "SSH_ASKPASS_REQUIRE": "force",
            "DISPLAY": ":0",
            "GITOPSD_PASSPHRASE_FILE": secret,
        }


class _Line:
    """A connection that calls share, by a socket in a private folder; ``ssh`` keeps it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def options(self) -> tuple[str, ...]:
        """Return what tells ``ssh`` to share: make the connection, or use the one there is."""
        with self._lock:
            self._prepare()
        if len(os.fsencode(self._socket)) > _SOCKET_PATH:
            return ()
        return (
            "ControlMaster=auto",
            f"ControlPath={self._socket}",
            f"ControlPersist={LINGER_S}",
        )

    def _prepare(self) -> None:
        if self._folder is not None and not self._socket.parent.is_dir():
            self._folder.cleanup()  # whoever tidies temporary folders was there before
            self._folder = None
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="gitopsd-ssh-")

    def close(self, host: str) -> None:
        """End the connection now, if there is one."""
        if self._folder is None:
            return
        if self._socket.exists():
            line = ["-F", "none", "-S", str(self._socket), "-O", "exit", "--", host]
            with suppress(subprocess.TimeoutExpired):  # then it ends by itself
                subprocess.run(
                    [_program("ssh"), *line],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=CLOSE_S,
                    check=False,
                )
        self._folder.cleanup()
        self._folder = None

    @property
    def _socket(self) -> Path:
        return Path(self._folder.name if self._folder else "", "s")


class _Connection:
    """A running ``ssh`` as the socket that dulwich takes it for."""

    def __init__(self, child: subprocess.Popen[bytes], limit: int | None) -> None:
        self._child = child
        self._limit = limit
        self._received = 0
        self._stdin = cast("IO[bytes]", child.stdin)
        self._stdout = cast("IO[bytes]", child.stdout)
        self.stderr = None

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer at the end."""
        data = bytearray()
        while len(data) < size and (chunk := self._stdout.read(size - len(data))):
            data += chunk
        self._received += len(data)
        if self._limit is not None and self._received > self._limit:
            raise gitpack.LimitError(f"more than {self._limit >> 20} MiB of references were sent")
        return bytes(data)

    def write(self, data: bytes) -> int:
        """Send bytes, all of them."""
        left = memoryview(data)
        while left:
            left = left[self._stdin.write(left) :]
        return len(data)

    def can_read(self) -> bool:
        """Tell whether something has come that was not read."""
        return bool(select.select([self._stdout], [], [], 0)[0])

    def kill(self) -> None:
        """End the process, from any thread."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the connection and wait for the process."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._child.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            self._child.wait()
        self._stdout.close()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SshError(f"the program {name} is not installed; Debian: apt install openssh-client")
    return found
