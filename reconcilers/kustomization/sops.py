"""Runs the official ``sops`` program, and remembers in memory what it said.

A text is known by its digest and that of the keys, so an unchanged secret costs no process. The
program gets the text through a pipe and the keys through an environment of its own. It can reach no
network unless the keys are those of a key service, since the text names whom to ask.

::

    OpenError    a text cannot be opened; the message is fit for a condition
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from reconcilers.kustomization import keys as decryption_keys
from reconcilers.kustomization.lending import Lent
from runtime import process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from reconcilers.kustomization.keys import Keys
    from reconcilers.kustomization.private import PrivateFolders
    from reconcilers.kustomization.sealed import Sealed
    from runtime.limits import Processes, Threads

CACHE_BYTES: Final = 8 * 1024 * 1024
"""Decrypted bytes that are kept; the oldest go first."""
TIMEOUT_S: Final = 30.0
"""Seconds one run may take; a key service may be far away."""
_PROGRAMS: Final = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin"
"""Where ``gpg`` is looked for."""
_NOWHERE: Final = "http://127.0.0.1:9"
"""A proxy at which nobody listens."""
_ALONE: Final = {
    "SOPS_CONFIG": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    "GCE_METADATA_HOST": "127.0.0.1:9",  # where nobody listens
}
"""Keeps sops from configuration files in the folders above and from this machine's identity."""
_MESSAGE_LIMIT: Final = 1000
_NOTHING_LENT: Final = Lent({}, {})

_Key: TypeAlias = tuple[bytes, str]


class OpenError(Exception):
    """A text cannot be opened."""


class Sops:
    """Opens encrypted texts.

    Args:
        program: the sops binary; None where there is none.
        processes: runs it.
        threads: makes and removes folders.
        folders: for its home, with OpenPGP keys and certificates in it.
    """

    def __init__(
        self,
        program: Path | None,
        processes: Processes,
        threads: Threads,
        folders: PrivateFolders,
    ) -> None:
        self._program, self._processes, self._threads = program, processes, threads
        self._folders = folders
        self._cache: OrderedDict[_Key, bytes] = OrderedDict()
        self._size = 0

    async def open(self, keys: Keys, texts: Sequence[Sealed]) -> list[bytes | OpenError]:
        """Open texts, as many at a time as there are slots for processes.

        Returns:
            For each text its content, or why it cannot be opened.

        Raises:
            TransientError: a key cannot be imported, or a cloud lends nothing.
        """
        found: list[bytes | OpenError | None] = [self._recall(keys, text) for text in texts]
        missing = [number for number, content in enumerate(found) if content is None]
        if missing:
            wanted = [texts[number].content for number in missing]
            async with self._home(keys, wanted) as (home, env), asyncio.TaskGroup() as tasks:
                runs = [
                    (number, tasks.create_task(self._run(texts[number], home, env), name="sops"))
                    for number in missing
                ]
            for number, run in runs:
                found[number] = run.result()
                self._remember(keys, texts[number], run.result())
        return [content for content in found if content is not None]

    async def _run(self, text: Sealed, home: Path, env: dict[str, str]) -> bytes | OpenError:
        if self._program is None:
            return OpenError("the sops program was not found; install it or name it in config.toml")
        argv = [str(self._program), "decrypt"]
        argv += ["--input-type", text.source, "--output-type", text.target]
        argv += [] if text.is_whole else ["--ignore-mac"]
        try:
            done = await self._processes.run(
                argv, cwd=home, env=env, input=text.content, timeout_s=TIMEOUT_S
            )
        except process.ProcessError as err:
            return OpenError(str(err))
        return OpenError(_explain(done.stderr, home)) if done.returncode else done.stdout

    @asynccontextmanager
    async def _home(
        self, keys: Keys, texts: Sequence[bytes]
    ) -> AsyncIterator[tuple[Path, dict[str, str]]]:
        """Make a home for some runs with everything the keys need, and remove it."""
        lent = await keys.lender.lend(texts, keys.env.keys()) if keys.lender else _NOTHING_LENT
        home = await self._threads.run(self._folders.make)
        env = {"HOME": str(home), "PATH": "", **_ALONE, **keys.env, **lent.env}
        if not keys.needs_network and not lent.env:
            env |= {"HTTP_PROXY": _NOWHERE, "HTTPS_PROXY": _NOWHERE}
        files = dict(lent.files)
        if keys.certificate:
            files["AZURE_CLIENT_CERTIFICATE_PATH"] = keys.certificate
        try:
            for variable, content in files.items():
                file = home / variable.lower()
                await self._threads.run(file.write_bytes, content)
                env[variable] = str(file)
            if keys.pgp:
                env |= {"GNUPGHOME": str(home), "PATH": _PROGRAMS}
                await self._import(keys, home, env)
            yield home, env
        finally:
            if keys.pgp:
                with contextlib.suppress(process.ProcessError):
                    await self._gpg(["gpgconf", "--kill", "all"], home, env)
            await self._threads.run(self._folders.remove, home)

    async def _import(self, keys: Keys, home: Path, env: dict[str, str]) -> None:
        for name, key in keys.pgp.items():
            try:
                argv = ["gpg", "--batch", "--no-tty", "--import"]
                done = await self._gpg(argv, home, env, key)
            except process.ProcessError as err:
                raise decryption_keys.failure(name, keys.origin, str(err)) from err
            if done.returncode:
                problem = _explain(done.stderr, home)
                raise decryption_keys.failure(name, keys.origin, problem)

    async def _gpg(
        self, argv: list[str], home: Path, env: dict[str, str], text: bytes = b""
    ) -> process.Completed:
        own = {"HOME": str(home), "GNUPGHOME": str(home), "PATH": env["PATH"]}
        return await self._processes.run(argv, cwd=home, env=own, input=text, timeout_s=TIMEOUT_S)

    def _recall(self, keys: Keys, text: Sealed) -> bytes | None:
        key = _key(keys, text)
        if key in self._cache:
            self._cache.move_to_end(key)
        return self._cache.get(key)

    def _remember(self, keys: Keys, text: Sealed, content: bytes | OpenError) -> None:
        key = _key(keys, text)
        if isinstance(content, OpenError) or key in self._cache:
            return
        self._cache[key] = content
        self._size += len(content)
        while self._size > CACHE_BYTES:
            _, oldest = self._cache.popitem(last=False)
            self._size -= len(oldest)


def _key(keys: Keys, text: Sealed) -> _Key:
    state = hashlib.blake2b(digest_size=16)
    state.update(f"{text.source} {text.target} {text.is_whole} ".encode())
    state.update(text.content)
    return state.digest(), keys.digest


def _explain(stderr: bytes, home: Path) -> str:
    """Put a program's complaint on one line, without paths of this machine."""
    text = stderr.decode(errors="replace").replace(f"{home}/", "").replace(str(home), "its home")
    words = [word for word in text.split() if word not in {"|", "-"}]
    return " ".join(words)[:_MESSAGE_LIMIT] or "it gave no reason"
