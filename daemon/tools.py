"""Finds the programs that the reconcilers start, and says how to get one that is missing.

Looked for in the settings, then in ``<data_dir>/tools``, then on ``PATH``.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
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
PINNED_SOPS: Final = "v3.13.3"
"""The version that is tested."""
_VERSION_S: Final = 10.0
_NUMBER = re.compile(r"v?(\d+)\.(\d+)")


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
        What was found, and a line about what is missing or too old; empty where all is well. A
        directory of plain manifests needs no kustomize, so its absence stops nothing here. Nor does
        that of sops, which most have no use for.
    """
    sops = find_sops(settings)
    found, complaint = await _look_for_kustomize(settings)
    return dataclasses.replace(found, sops=None if isinstance(sops, str) else sops), complaint


async def _look_for_kustomize(settings: Settings) -> tuple[Tools, str]:
    found = find_kustomize(settings)
    if isinstance(found, str):
        return Tools(), found
    try:
        answer = await process.run(
            [str(found), "version"], cwd=found.parent, env={}, timeout_s=_VERSION_S
        )
    except process.ProcessError as err:
        return Tools(), f"{found} does not run: {err}"
    version = answer.stdout.decode(errors="replace").strip()
    number = _NUMBER.search(version)
    if answer.returncode or not number:
        return Tools(), f"{found} does not tell its version; is it kustomize?"
    if (int(number[1]), int(number[2])) < OLDEST_KUSTOMIZE:
        return Tools(found, version), f"{found} is {version}, which is too old; {_advice()}"
    return Tools(found, version), ""


def _advice() -> str:
    """Say how to install kustomize here."""
    if sys.platform == "darwin":
        return "install it with `brew install kustomize`"
    return (
        f"get {PINNED_KUSTOMIZE} from https://github.com/kubernetes-sigs/kustomize/releases, put "
        "it on PATH, or name it in config.toml as [tools] kustomize"
    )
