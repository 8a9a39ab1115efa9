"""Finds the programs that the reconcilers start, and says how to get one that is missing.

Looked for in the settings, then in ``<data_dir>/tools``, then on ``PATH``.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconcilers.context import Tools
from runtime import process

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import Settings

OLDEST_KUSTOMIZE: Final = (5, 0)
"""The first kustomize whose output is that of the one inside Flux for what we generate."""
PINNED_KUSTOMIZE: Final = "v5.8.2"
"""The version that is tested, and that the advice for a missing one names."""
OLDEST_HELM: Final = (4, 0)
"""The first helm that applies as a server-side apply does; Helm 3 renders and stores otherwise."""
PINNED_HELM: Final = "v4.3.1"
"""The version that is tested, and that the advice for a missing one names."""
PINNED_COSIGN: Final = "v3.1.3"
"""The version that is tested."""
TESTED_NOTATION: Final = "1.3.2"
"""The version that is tested."""
PINNED_SOPS: Final = "v3.13.3"
"""The version that is tested."""
_VERSION_S: Final = 10.0
_NUMBER = re.compile(r"v?(\d+)\.(\d+)")
_NO_HOME: Final = {"HOME": "/nonexistent"}
"""The environment of a program that is asked for its version: nothing of this user's."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program as it was found, usable where there is no complaint."""

    path: Path | None = None
    version: str = ""
    complaint: str = ""
    """A line that says what is wrong and what to do about it."""


def find_kustomize(settings: Settings) -> Path | str:
    """Return the kustomize binary, or a line that says what is missing and how to get it."""
    found = _find("kustomize", settings.tools.kustomize, settings)
    return found or f"kustomize is not installed; {_advice()}"


def find_sops(settings: Settings) -> Path | str:
    """Return the sops binary, or a line that says what is missing and how to get it."""
    package = "brew install sops" if sys.platform == "darwin" else "make tools"
    source = f"go install github.com/getsops/sops/v3/cmd/sops@{PINNED_SOPS}"
    advice = f"install it with `{package}` or `{source}`"
    return _find("sops", settings.tools.sops, settings) or f"sops is not installed; {advice}"


def find_helm(settings: Settings) -> Path | str:
    """Return the helm binary, or a line that says what is missing and how to get it."""
    return _find("helm", settings.tools.helm, settings) or (
        f"helm is not installed; {_helm_advice()}"
    )


def find_cosign(settings: Settings) -> Path | str:
    """Return the cosign binary, or a line that says what is missing and how to get it."""
    package = "`brew install cosign` or " if sys.platform == "darwin" else ""
    source = f"`go install github.com/sigstore/cosign/v3/cmd/cosign@{PINNED_COSIGN}`"
    return _find("cosign", settings.tools.cosign, settings) or (
        f"cosign is not installed; install it with {package}{source}, or name it in config.toml "
        "as [tools] cosign"
    )


def find_notation(settings: Settings) -> Path | str:
    """Return the notation binary, or a line that says what is missing and how to get it."""
    package = "install it with `brew install notation`" if sys.platform == "darwin" else ""
    release = (
        f"get {TESTED_NOTATION} from https://github.com/notaryproject/notation/releases, put it on "
        "PATH"
    )
    return _find("notation", settings.tools.notation, settings) or (
        f"notation is not installed; {package or release}, or name it in config.toml as [tools] "
        "notation"
    )


def _find(name: str, named: Path | None, settings: Settings) -> Path | str | None:
    """Return a program, what is wrong with the one that the settings name, or None for none."""
    if named:
        is_usable = named.is_file() and os.access(named, os.X_OK)
        return named if is_usable else f"[tools] {name} = {str(named)!r}: is not a program"
    beside = settings.data_dir / "tools" / name
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    found = shutil.which(name)
    return type(beside)(found) if found else None


async def look(settings: Settings) -> tuple[Tools, str]:
    """Find the programs and ask for their versions.

    Returns:
        What was found, and a line about a kustomize that is missing or too old; empty where all is
        well. A directory of plain manifests needs no kustomize, so its absence stops nothing here.
        Nor does that of sops, helm, cosign and notation, which not everybody has a use for.
    """
    sops, cosign = find_sops(settings), find_cosign(settings)
    notation = find_notation(settings)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(
            _ask(find_kustomize(settings), ("version",), OLDEST_KUSTOMIZE, _advice())
        )
        helm = await look_for_helm(settings)
    kustomize = asking.result()
    found = Tools(
        kustomize=kustomize.path,
        kustomize_version=kustomize.version,
        sops=None if isinstance(sops, str) else sops,
        helm=None if helm.complaint else helm.path,
        helm_version=helm.version,
        helm_complaint=helm.complaint,
        cosign=None if isinstance(cosign, str) else cosign,
        cosign_complaint=cosign if isinstance(cosign, str) else "",
        notation=None if isinstance(notation, str) else notation,
        notation_complaint=notation if isinstance(notation, str) else "",
    )
    return found, kustomize.complaint


async def look_for_helm(settings: Settings) -> Program:
    """Find helm and ask for its version."""
    version = ("version", "--template", "{{.Version}}")
    return await _ask(find_helm(settings), version, OLDEST_HELM, _helm_advice())


async def _ask(
    found: Path | str, arguments: tuple[str, ...], oldest: tuple[int, int], advice: str
) -> Program:
    """Ask a program for its version, unless what was found is a line about its absence."""
    if isinstance(found, str):
        return Program(complaint=found)
    try:
        answer = await process.run(
            [str(found), *arguments], cwd=found.parent, env=_NO_HOME, timeout_s=_VERSION_S
        )
    except process.ProcessError as err:
        return Program(complaint=f"{found} does not run: {err}")
    version = answer.stdout.decode(errors="replace").strip()
    number = _NUMBER.search(version)
    if answer.returncode or not number:
        return Program(complaint=f"{found} does not tell its version; is it {found.name}?")
    is_too_old = (int(number[1]), int(number[2])) < oldest
    too_old = f"{found} is {version}, which is too old; {advice}" if is_too_old else ""
    return Program(found, version, too_old)


def _helm_advice() -> str:
    """Say how to install helm here."""
    if sys.platform == "darwin":
        return "install it with `brew install helm`"
    return (
        f"get {PINNED_HELM} from https://github.com/helm/helm/releases, put it on PATH, or name "
        "it in config.toml as [tools] helm"
    )


def _advice() -> str:
    """Say how to install kustomize here."""
    if sys.platform == "darwin":
        return "install it with `brew install kustomize`"
    return (
        f"get {PINNED_KUSTOMIZE} from https://github.com/kubernetes-sigs/kustomize/releases, put "
        "it on PATH, or name it in config.toml as [tools] kustomize"
    )
