"""What all clusters share: made once by the composition root, handed to each cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sources.auth.ambient.machine import Machine

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from daemon.settings import Limits
    from reconcilers.context import Tools
    from runtime.clock import Clock
    from runtime.limits import Processes, Threads
    from runtime.metrics import Metrics
    from sources.auth.machine_app import MachineApp
    from sources.auth.tls import Contexts
    from sources.git import GitFetcher
    from sources.helm.repositories import Repositories
    from sources.oci.client import Registries


@dataclass(frozen=True, slots=True)
class Shared:
    """The services of the process."""

    clock: Clock
    rng: random.Random
    metrics: Metrics
    threads: Threads
    processes: Processes
    git: GitFetcher
    """One for all clusters, so that clusters that follow one repository fetch it once."""
    oci: Registries
    """Likewise for what is pulled from registries."""
    charts: Repositories
    """Likewise for the indexes of chart repositories, and for charts."""
    tools: Tools
    limits: Limits
    data_dir: Path
    artifacts_url: str
    """Where the artifacts' listener is reached; the clusters' folders lie below."""
    identity: str
    """Who this daemon is in a Lease."""
    github_app: Callable[[], MachineApp | None] = lambda: None
    """Reads the GitHub App of the settings as they are now; blocks."""
    age_key: Callable[[], bytes | None] = lambda: None
    """Reads the age key of the settings as they are now; blocks."""
    machine: Machine | None = None
    """Gives out what this machine is in clouds."""

    def cluster_dir(self, cluster: str) -> Path:
        """Return a cluster's folder for disposable files."""
        return self.data_dir / "clusters" / cluster

    def artifacts_dir(self, cluster: str) -> Path:
        """Return the folder of a cluster's artifacts."""
        return self.data_dir / "artifacts" / cluster


def this_machine(contexts: Contexts, threads: Threads, clock: Clock) -> Machine:
    """Return the machine of this process, which knows its identities in clouds."""
    home = Path(os.environ.get("HOME", "/"))
    return Machine(os.environ, home, contexts, threads, clock)
