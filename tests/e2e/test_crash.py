"""Nothing is lost and nothing is left behind, whatever is killed in the middle.

The rounds are those of ``make soak``, which does more of them with more objects: every one changes,
adds and drops objects, strikes, and then compares cluster, Git and inventory. In most of them Git
changes once more before what was struck is back, and in one the daemon's caches are lost too.
Likewise for a release of a chart, with the real helm as the judge of what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import releasesoak, soak

if TYPE_CHECKING:
    from pathlib import Path

SIZE, ROUNDS, SEED = 200, 4, 20
CONFIG_MAPS = 12


@pytest.mark.timeout(240)
def test_daemon_and_api_server_killed_in_the_middle_lose_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    rounds = soak.soak(tmp_path, size=SIZE, rounds=ROUNDS, seed=SEED, say=told.append)
    assert [each.struck for each in rounds] == ["daemon"] * 3 + ["API server"], told
    assert any(each.had_begun for each in rounds[:3]), told


@pytest.mark.timeout(480)
def test_daemon_and_helm_killed_in_the_middle_of_a_release_lose_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    rounds = releasesoak.soak(tmp_path, size=CONFIG_MAPS, rounds=ROUNDS, seed=SEED, say=told.append)
    assert [each.plan.victim for each in rounds] == ["daemon", "helm", "daemon", "daemon"], told
    assert any(each.was_hit for each in rounds if each.plan.victim == "daemon"), told
