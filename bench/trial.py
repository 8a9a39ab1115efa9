"""One fixture of one size under one reconciler: every row of the table, in order."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench import raw
from bench.bed import TIMEOUT_S
from bench.fixtures import MANAGED, Fixture
from devcluster import memory, toolcache

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from bench.bed import Bed
    from devcluster.accounting import Kind

_READS = {"get", "list", "dry-run"}


@dataclass(frozen=True, slots=True)
class Result:
    """One measured row.

    Args:
        title: what was done.
        value: seconds, or MiB.
        raw: the raw client's figure for the same, where it can do the same.
        requests: how many requests about managed objects it took, None where nobody counted.
        writes: how many of those were writes, where that matters.
        limit: what is accepted, None where nothing is promised.
        unit: ``s`` or ``MiB``.
        is_bound: whether it had not happened by then.
    """

    title: str
    value: float
    raw: float | None = None
    requests: int | None = None
    writes: int | None = None
    limit: float | None = None
    unit: str = "s"
    is_bound: bool = False

    @property
    def is_missed(self) -> bool:
        """Whether more was measured than is accepted."""
        return self.limit is not None and self.value > self.limit


class Trial:
    """Measures one fixture.

    Args:
        bed: what is measured.
        size: how many objects.
        has_kustomization: let kustomize build them.
        rounds: how many objects are edited, and how many deleted, by hand.
        say: is told what is being measured.
    """

    def __init__(
        self,
        bed: Bed,
        size: int,
        *,
        has_kustomization: bool,
        rounds: int,
        say: Callable[[str], None],
    ) -> None:
        self._bed = bed
        self._rounds = rounds
        self._say = say
        self._name = f"{'built' if has_kustomization else 'plain'}-{size}"
        self._fixture = Fixture(self._name, size, has_kustomization)
        self._repo = bed.git.repo(self._name)
        self._build_s = 0.0

    def run(self) -> list[Result]:
        """Measure every row; leave the cluster as it was."""
        self._say(f"{self._name}: raw client")
        raw_create, raw_change = self._raw()
        self._bed.namespace(self._name)
        self._repo.push(self._fixture.files())
        if self._fixture.has_kustomization:
            self._build_s = self._time_kustomize()
        self._bed.follow(self._name, self._bed.git.url(self._name))
        with memory.Peak(self._bed.pids) as peak:
            results = [
                self._first_apply(raw_create),
                self._push_one(),
                self._push_all(raw_change),
                self._nothing(),
                self._edits(),
                self._deletions(),
                self._push_deletion(),
                *self._cold_starts(),
            ]
            results.append(self._memory("resident memory afterwards", 110.0))
        results.append(Result("children at their peak", peak.children_mib, unit="MiB"))
        results.append(self._remove())
        return results

    def _raw(self) -> tuple[float, float]:
        """Return how long the raw client takes to create all, and to change all."""
        other = Fixture(f"raw-{self._name}", self._fixture.size)
        self._bed.namespace(other.namespace)
        create = raw.apply_all(self._bed.credentials, other.objects())
        for name in other.names:
            other.values[name] = "second"
        change = raw.apply_all(self._bed.credentials, other.objects())
        self._bed.drop_namespace(other.namespace)
        return create, change

    def _time_kustomize(self) -> float:
        program = toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"
        start = time.monotonic()
        folder = self._repo.work / "objects"
        subprocess.run([program, "build", folder], check=True, capture_output=True)
        return time.monotonic() - start

    def _first_apply(self, raw_s: float) -> Result:
        self._announce("first apply until Ready")
        self._bed.count()
        start = time.monotonic()
        self._bed.kustomize(self._name, self._name, "./objects")
        self._bed.wait_ready(self._name, self._repo.head)
        took = time.monotonic() - start
        return self._result("first apply until Ready", took, raw_s=raw_s, limit=3 * raw_s)

    def _push_one(self) -> Result:
        self._announce("one change")
        name = self._fixture.names[self._fixture.size // 2]
        self._fixture.values[name] = "pushed"
        self._push([name])
        start = self._bed.call_hook(self._name)
        self._wait_value(name, "pushed")
        took = time.monotonic() - start
        self._bed.wait_ready(self._name, self._repo.head)
        return self._result("push (webhook) of 1 change until applied", took, limit=0.3)

    def _push_all(self, raw_s: float) -> Result:
        self._announce("every object changed")
        for name in self._fixture.names:
            self._fixture.values[name] = "all pushed"
        self._push(self._fixture.names)
        start = self._bed.call_hook(self._name)
        self._bed.wait_ready(self._name, self._repo.head)
        took = time.monotonic() - start
        return self._result("push of n changes until Ready", took, raw_s=raw_s)

    def _nothing(self) -> Result:
        self._announce("nothing to do")
        self._bed.count()
        start = time.monotonic()
        self._bed.wait_handled(self._name, self._bed.request(self._name))
        took = time.monotonic() - start
        return self._result("reconcile with nothing to do", took, limit=None)

    def _edits(self) -> Result:
        self._announce(f"{self._rounds} edits by hand")

        def edit(path: str) -> Callable[[dict[str, Any] | None], bool]:
            before = (self._bed.api.get(path) or {})["data"]["value"]
            self._bed.api.patch(path, {"data": {"value": "edited"}})
            return lambda obj: (obj or {}).get("data", {}).get("value") == before

        return self._corrected("hand edit", edit, 0)

    def _deletions(self) -> Result:
        self._announce(f"{self._rounds} deletions by hand")

        def delete(path: str) -> Callable[[dict[str, Any] | None], bool]:
            self._bed.api.delete(path)
            return lambda obj: obj is not None

        return self._corrected("hand deletion", delete, self._rounds)

    def _push_deletion(self) -> Result:
        self._announce("one deletion pushed")
        name = self._fixture.names[-1]
        del self._fixture.values[name]
        self._push([], delete=[name])
        start = self._bed.call_hook(self._name)
        path = self._bed.config_map(self._name, name)
        self._bed.api.wait(path, lambda obj: obj is None, TIMEOUT_S)
        took = time.monotonic() - start
        self._bed.wait_ready(self._name, self._repo.head)
        return self._result("push of a deletion until pruned", took)

    def _cold_starts(self) -> list[Result]:
        """Restart our own daemon, with its caches and without; a stranger is left running."""
        if self._bed.daemon is None:
            return []
        results = []
        for title, caches in (("cold start until Ready", True), ("the same without caches", False)):
            self._announce(title)
            self._bed.daemon.stop()
            if not caches:
                shutil.rmtree(self._bed.daemon.data_dir)
            self._bed.count()
            token = self._bed.request(self._name)
            start = time.monotonic()
            self._bed.daemon.start(wait=False)
            self._bed.wait_handled(self._name, token)
            took = time.monotonic() - start
            counts = self._bed.count()
            limit = 2.0 if caches else 2.0 + self._build_s  # without them it is built again
            result = Result(title, took, None, _managed(counts), _writes(counts), limit=limit)
            results.append(result)
            self._bed.daemon.wait_ready()
        return results

    def _remove(self) -> Result:
        self._announce("removal")
        self._bed.count()
        start = time.monotonic()
        self._bed.delete_kustomization(self._name)
        took = time.monotonic() - start
        result = self._result("Kustomization deleted until all is pruned", took)
        self._bed.unfollow(self._name)
        self._bed.drop_namespace(self._name)
        return result

    def _memory(self, title: str, limit: float) -> Result:
        return Result(title, memory.resident_mib(self._bed.pids), limit=limit, unit="MiB")

    def _corrected(
        self, what: str, disturb: Callable[[str], Callable[..., bool]], first: int
    ) -> Result:
        """Disturb one object after the other; measure the time until each is as before.

        Who does not correct the first one in the time that the bed allows is asked to reconcile,
        so that what follows finds everything in its place.
        """
        title = f"{what} until corrected (median of {self._rounds})"
        times = []
        for number in range(self._rounds):
            name = self._fixture.names[(first + number) % self._fixture.size]
            path = self._bed.config_map(self._name, name)
            holds = disturb(path)
            start = time.monotonic()
            try:
                self._bed.api.wait(path, holds, self._bed.patience_s)
            except TimeoutError:
                result = self._result(title, self._bed.patience_s, limit=0.3)
                self._bed.wait_handled(self._name, self._bed.request(self._name))
                self._bed.api.wait(path, holds, TIMEOUT_S)
                return replace(result, is_bound=True)
            times.append(time.monotonic() - start)
        return self._result(title, statistics.median(times), limit=0.3)

    def _push(self, names: list[str], delete: list[str] | None = None) -> None:
        files = self._fixture.files()
        changed = {
            path: text
            for path, text in files.items()
            if path.endswith("kustomization.yaml")
            or path.split("/")[1].removesuffix(".yaml") in names
        }
        self._repo.push(changed, delete=[f"objects/{name}.yaml" for name in delete or []])
        self._bed.count()

    def _wait_value(self, name: str, value: str) -> None:
        self._bed.api.wait(
            self._bed.config_map(self._name, name),
            lambda obj: (obj or {}).get("data", {}).get("value") == value,
            TIMEOUT_S,
        )

    def _result(
        self, title: str, took: float, *, raw_s: float | None = None, limit: float | None = None
    ) -> Result:
        """Make a row; where kustomize builds, its own time is added to what is accepted."""
        allowed = None if limit is None else limit + self._build_s
        return Result(title, took, raw_s, _managed(self._bed.count()), limit=allowed)

    def _announce(self, what: str) -> None:
        self._say(f"{self._name}: {what}")


def _managed(counts: Counter[Kind]) -> int:
    return sum(number for kind, number in counts.items() if kind.resource == MANAGED)


def _writes(counts: Counter[Kind]) -> int:
    return sum(
        number
        for kind, number in counts.items()
        if kind.resource == MANAGED and kind.verb not in _READS
    )
