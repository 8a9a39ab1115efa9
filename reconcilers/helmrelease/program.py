"""Runs the helm program against a cluster, with no secret on its command line or on a disk.

Its requests go through a listener on loopback (`kube.helm.relay`), which sends them on over the
daemon's own connection and as the user that acts for the release: helm gets no credentials of a
cluster, but an address of its own that is good for one session. On the way the names of release
Secrets are moved to the namespace of the records, for which helm has no option.

::

    HelmError            helm ended with an error; message as helm words it, without its prefixes
    └── HelmMissing      there is no helm program
    ProcessTimeout       (of `runtime.process`) helm took too long and was killed
    OSError              there is no private folder, or no free port
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from kube.helm import relay
from reconcilers.kustomization.private import PrivateFolders
from runtime import process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from kube.client import Client
    from kube.helm.shelf import Shelf
    from runtime.limits import Processes, Threads

MAX_OUTPUT: Final = 64 * 1024 * 1024
"""Bytes of a record as helm prints it."""
MESSAGE_LIMIT: Final = 4000
"""Characters of helm's message that are kept."""

_PROGRAMS: Final = "/usr/local/bin:/usr/bin:/bin"
"""Where the post-renderer's ``sh`` and ``cat`` are looked for."""
_PREFIX: Final = re.compile(r"^(?:Error: |INSTALLATION FAILED: |UPGRADE FAILED: )+")

_SERVER: Final = re.compile(r"http://127\.0\.0\.1:[0-9]+/[-\w]{43}")
"""The address that was lent, which says nothing to anybody."""


class HelmError(Exception):
    """Helm ended with an error; the message is its own, without ``Error:`` and the like."""


class HelmMissing(HelmError):  # noqa: N818 - says what is wrong
    """There is no helm program."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session works, and as whom."""

    client: Client
    """Sends helm's requests on, with its identity."""
    namespace: str
    """The namespace that is released to."""
    storage_namespace: str
    """The namespace of the records."""


class Session:
    """A private folder and a way to one cluster, for some runs of helm.

    Args:
        folder: only this user can read it; gone afterwards.
    """

    def __init__(self, folder: Path, place: Place, program: Path, processes: Processes) -> None:
        self.folder = folder
        self._place, self._program, self._processes = place, program, processes

    async def run(
        self, arguments: Sequence[str], *, values: bytes = b"", timeout_s: float
    ) -> bytes:
        """Run helm and return what it printed.

        Args:
            arguments: the command and its options, without ``--namespace`` and ``--kubeconfig``;
                files are named relative to the folder.
            values: standard input, for ``-f -``.
            timeout_s: seconds until it is stopped.

        Raises:
            HelmError: it failed.
            ProcessTimeout: it took too long.
        """
        argv = [str(self._program), *arguments, "--namespace", self._place.namespace]
        try:
            done = await self._processes.run(
                argv,
                cwd=self.folder,
                env=self._environment(),
                input=values,
                timeout_s=timeout_s,
                max_output=MAX_OUTPUT,
            )
        except process.ProcessNotFound as err:
            raise HelmMissing(str(err)) from err
        except process.OutputTooLarge as err:
            raise HelmError(f"the release is too large: {err}") from err
        if done.returncode < 0:
            raise HelmError(f"helm was killed by signal {-done.returncode}")
        if done.returncode != 0:
            raise HelmError(explain(done.stderr.decode(errors="replace"), self.folder))
        return done.stdout

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        folders = {f"HELM_{name}_HOME": folder for name in ("CACHE", "CONFIG", "DATA")}
        return {
            "HOME": folder,
            "TMPDIR": folder,
            "PATH": _PROGRAMS,
            "KUBECONFIG": f"{folder}/kubeconfig",
            "KUBECACHEDIR": f"{folder}/kube",
            "HELM_PLUGINS": f"{folder}/plugins",
            "HELM_DRIVER": "secret",
            "NO_COLOR": "1",
            **folders,
        }


class Helm:
    """The helm program of this machine.

    Args:
        program: where it is; None where there is none.
        complaint: why there is none, and what to do about it.
        owner: a folder that one process at a time uses; tells our leftovers from others'.
        processes: runs it, as many at a time as there are slots.
        threads: makes and removes folders.
    """

    def __init__(
        self,
        program: Path | None,
        complaint: str,
        owner: Path,
        processes: Processes,
        threads: Threads,
    ) -> None:
        self._program, self._complaint = program, complaint
        self._processes, self._threads = processes, threads
        self._folders = PrivateFolders(owner / "helm")
        self._cleaning, self._is_clean = asyncio.Lock(), False

    async def clean(self) -> None:
        """Remove what a killed process left behind; the first call does, and the others wait.

        Rendered Secrets may be among it, so that it does not stay until the next render.
        """
        async with self._cleaning:
            if not self._is_clean:
                await self._threads.run(self._folders.sweep)
                self._is_clean = True

    @asynccontextmanager
    async def session(self, place: Place, shelf: Shelf | None = None) -> AsyncIterator[Session]:
        """Open a way to a cluster for as long as the context lasts.

        Helm looks for plug-ins in ``plugins`` in the session's folder, and nowhere else.

        Args:
            place: where, and as whom.
            shelf: the records that helm finds in place of the cluster's.

        Raises:
            HelmMissing: there is no helm program.
            OSError: there is no private folder, or no free port.
        """
        if self._program is None:
            raise HelmMissing(self._complaint or "the helm program was not found")
        move = relay.Move(place.namespace, place.storage_namespace)
        await self.clean()
        folder = await self._threads.run(self._folders.make)
        try:
            async with relay.lending(place.client, move, shelf) as server:
                await self._threads.run(_write_kubeconfig, folder, server)
                yield Session(folder, place, self._program, self._processes)
        finally:
            await self._threads.run(self._folders.remove, folder)


def explain(stderr: str, folder: Path) -> str:
    """Return helm's complaint without its prefixes, its log and paths of this machine."""
    _, mark, complaint = f"\n{stderr}".rpartition("\nError: ")
    text = complaint if mark else stderr
    text = text.replace(f"{folder}{os.sep}", "").replace(str(folder), ".")
    text = _SERVER.sub("the API server", text)
    return _PREFIX.sub("", text.strip())[:MESSAGE_LIMIT] or "helm gave no reason"


def _write_kubeconfig(folder: Path, server: str) -> None:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lent", "cluster": {"server": server}}],
        "contexts": [{"name": "lent", "context": {"cluster": "lent"}}],
        "current-context": "lent",
    }
    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_bytes(orjson.dumps(content))
