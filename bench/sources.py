"""What a push costs until it is an artifact, what polling costs, and what a large clone leaves."""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, Final

from bench.fixtures import Fixture
from bench.trial import Result
from devcluster import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.bed import Bed
    from devcluster.gitrepo import Repo

PUSHED: Final = {500: 0.15, 5000: 0.4}
"""Seconds that are accepted from a delivery until the artifact is Ready, by files."""
POLLED: Final = 50
POLL_SHARE: Final = 1.0
"""Per cent of one core that polling so many repositories each minute may take."""
LARGE_MIB: Final = 100
LEFT_MIB: Final = 10.0
"""What the daemon may keep of the memory that a first clone of that size took."""
_FILE_BYTES: Final = 256 * 1024
_FOLDER: Final = 50
_ROUNDS: Final = 9


def rows(bed: Bed, say: Callable[[str], None]) -> list[Result]:
    """Measure every row; leave the cluster as it was."""
    return [
        *_large(bed, say),
        *(_push(bed, files, limit, say) for files, limit in PUSHED.items()),
        _poll(bed, say),
    ]


def _push(bed: Bed, files: int, limit_s: float, say: Callable[[str], None]) -> Result:
    name = f"pushed-{files}"
    say(f"{name}: one file changed, {_ROUNDS} times")
    repo = bed.git.repo(name)
    fixture = Fixture(name, files)
    repo.push(_spread(fixture, fixture.names))
    bed.follow(name, bed.git.url(name))
    times = []
    for number in range(_ROUNDS):
        changed = fixture.names[number * files // _ROUNDS]
        fixture.values[changed] = f"pushed {number}"
        repo.push(_spread(fixture, [changed]))
        times.append(_until_ready(bed, name, repo))
    bed.unfollow(name)
    title = (
        f"push (webhook) of 1 of {files} files until the artifact is Ready (median of {_ROUNDS})"
    )
    return Result(title, statistics.median(times), limit=limit_s)


def _until_ready(bed: Bed, name: str, repo: Repo) -> float:
    head = repo.head
    start = bed.call_hook(name)
    bed.wait_source(name, head)
    return time.monotonic() - start


def _spread(fixture: Fixture, names: list[str]) -> dict[str, str]:
    """Return the files of some objects, fifty in a folder."""
    texts = fixture.files()
    return {
        f"apps/{int(name.rpartition('-')[2]) // _FOLDER:03}/{name}.yaml": texts[
            f"objects/{name}.yaml"
        ]
        for name in names
    }


def _large(bed: Bed, say: Callable[[str], None]) -> Iterator[Result]:
    name = "large"
    say(f"{name}: first clone of {LARGE_MIB} MiB")
    repo = bed.git.repo(name)
    repo.push(
        {
            f"files/{number:04}.bin": os.urandom(_FILE_BYTES)
            for number in range(LARGE_MIB * 1024 * 1024 // _FILE_BYTES)
        }
    )
    before = memory.resident_mib(bed.pids)
    start = time.monotonic()
    bed.follow(name, bed.git.url(name), timeout="5m")
    took = time.monotonic() - start
    bed.count()  # up to a moment of quiet
    left = memory.resident_mib(bed.pids) - before
    bed.unfollow(name)
    yield Result(f"first clone of {LARGE_MIB} MiB until the artifact is Ready", took)
    yield Result("memory that it leaves behind", left, limit=LEFT_MIB, unit="MiB")


def _poll(bed: Bed, say: Callable[[str], None]) -> Result:
    say(f"{POLLED} repositories polled for two minutes")
    names = [f"polled-{number:02}" for number in range(POLLED)]
    for name in names:
        bed.git.repo(name).push({"a.yaml": "a: 1\n"})
        bed.follow(name, bed.git.url(name), interval="1m")
    bed.count()
    seconds = 120.0
    before = memory.cpu_s(bed.pids)
    bed.pause(seconds)
    share = 100 * (memory.cpu_s(bed.pids) - before) / seconds
    for name in names:
        bed.unfollow(name)
    title = f"polling {POLLED} unchanged repositories each minute, of one core"
    return Result(title, share, limit=POLL_SHARE, unit="%")
