"""A builder on a test's folder, with the real kustomize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.kustomize import KustomizationSpec, SourceReference
from reconcilers.context import ReconcileSettings, Tools
from reconcilers.kustomization import build, store, workplace
from runtime.limits import Processes
from runtime.metrics import Metrics
from tests.support.kustomizer import kustomize_program

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.limits import Threads

SPEC = KustomizationSpec(
    interval="1h", source_ref=SourceReference(kind="GitRepository", name="r"), prune=True
)


def make(
    tmp_path: Path, threads: Threads, *, tools: Tools | None = None, **settings: Any
) -> build.Builder:
    """Return a builder that keeps its builds in ``tmp_path/builds``."""
    directory = tmp_path / "builds"
    processes, found = Processes(Metrics()), tools or Tools(kustomize_program(), "v5.8.2")
    return build.Builder(
        store.Store(directory),
        threads,
        processes,
        tools=found,
        settings=ReconcileSettings(**settings),
        workplace=workplace.Workplace(directory, found.sops, processes, threads),
    )
