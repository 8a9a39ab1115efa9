"""Kills the daemon, or its API server, in the middle of applies, and looks at what is left.

Every round pushes a new value for every object, adds some and drops some, and strikes at a random
moment: after some time, or, since an apply is only a part of that time, once some of the objects
have been written. In most rounds Git drops further objects before the daemon is back, and now and
then the daemon's caches are lost as well. Then the cluster must come to hold exactly what Git says,
and the inventory exactly that.

``python -m bench.soak`` does 20 rounds with 1000 objects, and 20 with releases of charts
(`bench.releasesoak`); tests call `soak` with fewer.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import bed as beds
from bench import releasesoak
from bench.fixtures import Fixture
from devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "soak"
_CHURN = 0.1
_CYCLE = 4
_CALM, _FORGETFUL, _API = 0, 1, 3
"""Rounds of a cycle that are special: Git does not change meanwhile, the daemon's caches are lost,
the API server is struck."""
_BY_PROGRESS = 0.6
"""How often the moment is found by what has been written, not by the clock."""
_SOAKS = ("kustomizations", "releases")
_CONFIG_MAPS = 40
"""How many objects of this kind the chart of the release has."""
_LATEST = 0.5
"""The largest share of written objects to wait for: the rest takes longer than a kill."""


class SoakError(DevclusterError):
    """The cluster does not hold what Git says."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did.

    Args:
        struck: ``daemon`` or ``API server``.
        after_s: how far into the apply.
        had_begun: whether some, but not all, objects had been written by then.
        recovered_s: from the start of what was struck until all was as it must be.
    """

    struck: str
    after_s: float
    had_begun: bool
    recovered_s: float


class Soak:
    """One Kustomization of many objects that lives through everything.

    Args:
        bed: our own daemon on our own cluster.
        size: about how many objects.
        seed: of everything that is random.
    """

    def __init__(self, bed: beds.Bed, size: int, seed: int) -> None:
        self._bed = bed
        self._random = random.Random(seed)  # noqa: S311 - to be repeatable, not secret
        self._fixture = Fixture(_NAME, size)
        self._repo = bed.git.repo(_NAME)
        self._added: list[str] = []
        self._apply_s = 0.0

    def begin(self) -> None:
        """Apply everything, undisturbed, and remember how long changing all of it takes."""
        self._bed.namespace(_NAME)
        self._repo.push(self._fixture.files())
        self._bed.follow(_NAME, self._bed.git.url(_NAME))
        self._bed.kustomize(_NAME, _NAME, "./objects")
        self._bed.wait_ready(_NAME, self._repo.head)
        self._push("begin")
        start = self._bed.call_hook(_NAME)
        self._bed.wait_ready(_NAME, self._repo.head)
        self._apply_s = time.monotonic() - start
        self._verify()

    def strike(self, number: int) -> Round:
        """Do one round.

        Raises:
            SoakError: something was lost, or left behind.
            TimeoutError: it did not converge.
        """
        value = f"round {number}"
        self._push(value)
        is_api = number % _CYCLE == _API
        after_s = self._random.uniform(0.0, self._apply_s)
        start = self._bed.call_hook(_NAME)
        is_forgetful = number % _CYCLE == _FORGETFUL
        if self._random.random() < _BY_PROGRESS or is_forgetful:
            share = self._random.uniform(0.0, _LATEST)
            after_s = self._wait_written(value, share) - start
        else:
            threading.Event().wait(after_s)
        self._fell(is_api=is_api)
        if number % _CYCLE != _CALM:
            self._push(f"{value}, changed meanwhile")
        if is_forgetful:
            self._drop_caches()
        start = time.monotonic()
        had_begun = self._rise(value, is_api=is_api)
        self._bed.call_hook(_NAME)
        self._bed.wait_ready(_NAME, self._repo.head)
        recovered_s = time.monotonic() - start
        self._verify()
        return Round("API server" if is_api else "daemon", after_s, had_begun, recovered_s)

    def end(self) -> None:
        """Delete the Kustomization.

        Raises:
            SoakError: it left objects behind.
        """
        self._bed.delete_kustomization(_NAME)
        left = self._bed.config_maps(_NAME)
        if left:
            raise SoakError(f"{len(left)} objects were left behind, {min(left)} among them")

    def _wait_written(self, value: str, share: float) -> float:
        """Wait until more than a share of the objects has been written; return when that was.

        A watch tells it as it happens: a list of all of them takes as long as their apply.
        """
        written: set[str] = set()
        with closing(self._bed.follow_config_maps(_NAME)) as changes:
            for name, found in changes:
                if found == value:
                    written.add(name)
                if len(written) > share * len(self._fixture.values):
                    return time.monotonic()
        raise TimeoutError(f"nothing wrote {value!r}")

    def _count(self, value: str) -> int:
        return list(self._bed.config_maps(_NAME).values()).count(value)

    def _fell(self, *, is_api: bool) -> None:
        daemon, cluster = self._bed.daemon, self._bed.cluster
        if daemon is None or cluster is None:
            raise SoakError("only a daemon and a cluster of our own can be struck")
        if is_api:
            cluster.kill_api()
        else:
            daemon.kill()

    def _drop_caches(self) -> None:
        """Delete sources and builds, so that the new revision is the first that is seen again."""
        folder = self._bed.daemon.data_dir if self._bed.daemon else None
        for path in folder.iterdir() if folder else ():
            if path.is_dir():
                shutil.rmtree(path)

    def _rise(self, value: str, *, is_api: bool) -> bool:
        """Start again what was struck; say whether the apply had been in the middle."""
        daemon, cluster = self._bed.daemon, self._bed.cluster
        if is_api and cluster:
            cluster.start_api()
            return True  # what it had done cannot be told from what the daemon did since
        written = self._count(value)
        if daemon:
            daemon.start()
        return 0 < written < len(self._fixture.values)

    def _push(self, value: str) -> None:
        """Push a new value for every object, with some dropped and others added.

        Every second one of those that the push before added goes again: should the apply have
        created it and been killed, only an inventory that was written first knows of it. The names
        of new objects are random, so that they come anywhere in the order of an apply.
        """
        values = self._fixture.values
        count = max(1, int(len(values) * _CHURN))
        dropped = {*self._random.sample(sorted(values), count), *self._added[::2]}
        for name in dropped:
            values.pop(name, None)
        numbers = self._random.sample(range(10**6), self._random.randint(count, 2 * count))
        self._added = [f"object-{number:06}" for number in numbers]
        values.update(dict.fromkeys(self._added, ""))
        for name in values:
            values[name] = value
        # A random name may be that of one which was dropped just now.
        gone = [f"objects/{name}.yaml" for name in sorted(dropped - values.keys())]
        self._repo.push(self._fixture.files(), delete=gone)

    def _verify(self) -> None:
        live = self._bed.config_maps(_NAME)
        wanted = self._fixture.values
        lost, left = set(wanted) - set(live), set(live) - set(wanted)
        stale = [name for name in wanted if name in live and live[name] != wanted[name]]
        if lost or left or stale:
            raise SoakError(f"lost {sorted(lost)}, left behind {sorted(left)}, stale {stale}")
        entries = self._bed.wait_ready(_NAME)["status"]["inventory"]["entries"]
        ids = {entry["id"].split("_")[1] for entry in entries}
        if ids != set(wanted):
            raise SoakError(f"the inventory differs by {sorted(ids ^ set(wanted))}")


def soak(
    folder: Path, *, size: int, rounds: int, seed: int, say: Callable[[str], None]
) -> list[Round]:
    """Run a whole soak on a cluster of its own.

    Args:
        folder: for everything it makes.
        size: about how many objects.
        rounds: how often something is struck.
        seed: of everything that is random; the same seed strikes at the same moments.
        say: is told of every round.

    Raises:
        SoakError: something was lost, or left behind.
        TimeoutError: it did not converge.
    """
    done = []
    with beds.ours(folder) as bed:
        run = Soak(bed, size, seed)
        run.begin()
        say(f"{size} objects applied; seed {seed}")
        for number in range(rounds):
            result = run.strike(number)
            done.append(result)
            middle = "in the middle" if result.had_begun else "before or after the writes"
            say(
                f"round {number + 1} of {rounds}: {result.struck} killed after "
                f"{result.after_s:.2f} s, {middle}; whole again in {result.recovered_s:.1f} s"
            )
        run.end()
    return done


def main() -> int:
    """Run a soak from the command line; the exit status is 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="soak", description="Kill it in the middle, many times.")
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", choices=_SOAKS, help="what to kill it in; all of it by default")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gitopsd-soak-"))
    chosen = [options.only] if options.only else list(_SOAKS)
    try:
        if "kustomizations" in chosen:
            given = {"size": options.size, "rounds": options.rounds, "seed": options.seed}
            soak(folder / "kustomizations", say=_say, **given)
        if "releases" in chosen:
            given = {"size": _CONFIG_MAPS, "rounds": options.rounds, "seed": options.seed}
            releasesoak.soak(folder / "releases", say=_say, **given)
    except KeyboardInterrupt:
        return 130
    except (DevclusterError, TimeoutError, OSError) as error:
        print(f"soak: {error}; everything is left in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
