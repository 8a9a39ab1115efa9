"""The benchmark measures whatever speaks Flux's API, here the daemon as if it were a stranger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import bed as beds
from bench.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

    from bench.bed import Bed

pytestmark = pytest.mark.leftovers("connections to the Git server live as long as the daemon")


def test_stranger_is_measured_by_its_receivers_and_process_ids(bed: Bed, tmp_path: Path) -> None:
    daemon, cluster = bed.daemon, bed.cluster
    assert daemon
    assert cluster
    pids = tmp_path / "pids"
    pids.write_text(f"{daemon.pid}\n")
    hook = f"http://127.0.0.1:{daemon.webhook_port}"

    with beds.theirs(cluster.kubeconfig, hook, pids, tmp_path, quiet_s=0.2, idle_s=0.2) as stranger:
        trial = Trial(stranger, 3, has_kustomization=False, rounds=1, say=lambda _: None)
        rows = {row.title: row for row in trial.run()}

    first = rows["first apply until Ready"]
    assert first.requests
    assert first.requests >= 3
    edit = rows["hand edit until corrected (median of 1)"]
    assert not edit.is_bound
    assert edit.requests
    assert edit.requests < 5, "what the benchmark itself asks is not counted"
    assert rows["resident memory afterwards"].value > 10
    assert not [title for title in rows if "cold start" in title]
