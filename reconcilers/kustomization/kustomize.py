"""Runs the kustomize program on a directory.

::

    manifest.BuildError    it cannot build; worded as Flux does
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconcilers.kustomization.manifest import BuildError
from runtime import process

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.limits import Processes

_SEARCH_PATH: Final = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin"
"""Where kustomize finds ``git`` for remote bases."""
_DUMPED: Final = re.compile(r"map\[string\]interface \{\}[{(].*[})](?=: )", re.DOTALL)
"""Whole objects, which kustomize prints into some errors."""


class Kustomize:
    """The kustomize program of this machine.

    Args:
        program: where it is; None where there is none.
        processes: runs it.
        timeout_s: seconds until it is killed.
    """

    def __init__(self, program: Path | None, processes: Processes, timeout_s: float) -> None:
        self._program, self._processes, self._timeout_s = program, processes, timeout_s

    def require(self) -> Path:
        """Return where the program is.

        Raises:
            BuildError: there is none.
        """
        if self._program is None:
            raise BuildError(
                "kustomize build failed: the kustomize program was not found; install it or name "
                "it in config.toml"
            )
        return self._program

    async def build(self, directory: Path, root: str = "", *, confined: bool) -> bytes:
        """Return what kustomize makes of a directory.

        Args:
            directory: where it runs; its home too.
            root: the directory below with the kustomization file.
            confined: whether files above ``root`` are out of reach.

        Raises:
            BuildError: it failed.
        """
        restrictor = "RootOnly" if confined else "None"
        argv = [str(self.require()), "build", root or "."]
        argv += ["--load-restrictor", f"LoadRestrictions{restrictor}", "--reorder", "none"]
        env = {"PATH": _SEARCH_PATH, "HOME": str(directory), "TMPDIR": str(directory)}
        try:
            done = await self._processes.run(
                argv, cwd=directory, env=env, timeout_s=self._timeout_s
            )
        except process.ProcessError as err:
            raise BuildError(f"kustomize build failed: {err}") from err
        if done.returncode != 0:
            raise BuildError(_failure(done.stderr.decode(errors="replace"), directory))
        return done.stdout


def _failure(stderr: str, directory: Path) -> str:
    """Word kustomize's complaint as Flux does, without this machine's paths or whole objects."""
    text = stderr.replace(f"{directory}/", "").replace(str(directory), ".")
    head, panicked, rest = text.partition("panic: ")
    if panicked:
        first = rest.partition("\n")[0]
        return f"kustomize build failed: recovered from kustomize build panic: {first}"
    message = _DUMPED.sub("an object", head[head.find("Error: ") + 1 :].removeprefix("rror: "))
    return f"kustomize build failed: {message.strip()}"
