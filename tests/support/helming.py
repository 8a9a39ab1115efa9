"""The real helm, and charts for it."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from functools import cache
from typing import TYPE_CHECKING

from devcluster import toolcache

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@cache
def helm_program() -> Path:
    """Return the pinned helm, built the first time."""
    return toolcache.ensure(toolcache.HELM) / "helm"


def helm(*arguments: str | Path, home: Path, **environment: str) -> str:
    """Run helm with nothing of this user's, and return what it printed.

    Args:
        arguments: of helm.
        home: where it keeps its own files.
        environment: further variables.

    Raises:
        CalledProcessError: it failed; what it said is on the test's stderr.
    """
    folders = {
        f"HELM_{each}_HOME": str(home / each.lower()) for each in ("CACHE", "CONFIG", "DATA")
    }
    done = subprocess.run(
        [helm_program(), *arguments],
        env={"HOME": str(home), "PATH": os.environ["PATH"], **folders, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def chart(name: str = "web", version: str = "1.0.0", **files: str) -> dict[str, str]:
    """Return a small chart's files by their path in it.

    Args:
        name: of the chart.
        version: of the chart.
        files: further ones, and others instead; ``__`` stands for ``/`` and ``_`` for ``.``.
    """
    named = {path.replace("__", "/").replace("_", "."): text for path, text in files.items()}
    return {
        "Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n",
        "values.yaml": "replicas: 1\nimage:\n  tag: stable\n",
        "templates/map.yaml": (
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n"
            "data:\n  values: {{ .Values | toJson | quote }}\n"
        ),
    } | named


def below(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    """Return files with a folder before their paths."""
    return {f"{folder}/{path}": text for path, text in files.items()}


def packed(files: Mapping[str, str | bytes], folder: str = "web") -> bytes:
    """Return the archive that files are in, all in one folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            header = tarfile.TarInfo(f"{folder}/{path}")
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    """Return an archive's files, with the folder that they are in."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {each.name: archive.extractfile(each) for each in archive if each.isreg()}
        return {name: file.read() for name, file in files.items() if file}


def write(directory: Path, files: Mapping[str, str]) -> Path:
    """Write files below a directory, and return that."""
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    return directory
