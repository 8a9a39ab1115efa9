"""Moments in the life of a release, found by watches: what happens is seen as it happens."""

from __future__ import annotations

import enum
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bench import soakchart
from bench.bed import NAMESPACE, TIMEOUT_S
from devcluster import processes

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from bench.bed import Bed

RECORDS: Final = f"/api/v1/namespaces/{NAMESPACE}/secrets?labelSelector=owner%3Dhelm"
_LATEST: Final = 0.9
"""The largest share of written objects to wait for."""
_POLL_S: Final = 0.003
_WATCH_S: Final = 5.0
"""Seconds between two looks at whether the moment has passed unseen."""


class Moment(enum.Enum):
    """When to strike."""

    CLOCK = "at a random time"
    RENDER = "while helm ran"
    RECORD = "once the record told of it"
    PRE = "while the first hook ran"
    OBJECTS = "while objects were applied"
    POST = "while the last hook ran"
    DONE = "once the record was final"
    ROLLBACK = "once a rollback had begun"


OF_RELEASE: Final = tuple(each for each in Moment if each is not Moment.ROLLBACK)
OF_FAILURE: Final = (Moment.ROLLBACK,)
"""The moment that is waited for where an upgrade fails."""
OF_REMOVAL: Final = (Moment.CLOCK, Moment.RECORD, Moment.PRE, Moment.POST)
"""The moments that an uninstall has."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What the daemon is at.

    Args:
        value: what the objects of the release say.
        version: the newest revision from before.
        size: how many ConfigMaps it has.
        is_removal: whether it is an uninstall.
    """

    value: str
    version: int
    size: int
    is_removal: bool = False


class Moments:
    """Waits for moments of one release.

    Args:
        bed: where it is.
        namespace: of its objects.
        rng: chooses where a moment is a span.
    """

    def __init__(self, bed: Bed, namespace: str, rng: random.Random) -> None:
        self._bed, self._namespace, self._rng = bed, namespace, rng
        self.usual_s = 3.0
        """How long an undisturbed release takes."""

    def wait(self, moment: Moment, operation: Operation) -> int:
        """Wait for a moment, or for the end of the operation where nobody saw it.

        Returns:
            The process of helm, where that was waited for and is seen; else 0.

        Raises:
            TimeoutError: neither came.
        """
        match moment:
            case Moment.CLOCK:
                self._bed.pause(self._rng.uniform(0.0, self.usual_s))
            case Moment.RENDER:
                return self.helm(operation)
            case Moment.RECORD:
                self._follow(RECORDS, is_under_way, operation)
            case Moment.ROLLBACK:
                self._follow(RECORDS, lambda item: status_of(item) == "pending-rollback", operation)
            case Moment.DONE:
                self._follow(RECORDS, lambda item: _is_final(item, operation), operation)
            case Moment.PRE | Moment.POST:
                name = soakchart.PRE if moment is Moment.PRE else soakchart.POST
                self._follow(
                    self._jobs(name), lambda item: _mark(item) == operation.value, operation
                )
            case Moment.OBJECTS:
                count = self._rng.uniform(0.0, _LATEST) * operation.size
                self._follow(self._config_maps(), _Written(operation.value, count), operation)
        return 0

    def helm(self, operation: Operation) -> int:
        """Wait until the daemon runs helm; return the process, or 0 when it is too late for that.

        Raises:
            TimeoutError: neither came.
        """
        daemon, start = self._bed.daemon, time.monotonic()
        pause, looked = threading.Event(), start
        while (now := time.monotonic()) < start + TIMEOUT_S:
            found = processes.children(daemon.pid or 0) if daemon else {}
            pid = next((pid for pid, name in found.items() if name == "helm"), 0)
            if pid:
                return pid
            if now > looked + _WATCH_S:
                looked = now
                if self._is_over(operation):
                    return 0
            pause.wait(_POLL_S)
        raise TimeoutError("the daemon runs no helm")

    def _jobs(self, name: str) -> str:
        path = f"/apis/batch/v1/namespaces/{self._namespace}/jobs"
        return f"{path}?fieldSelector=metadata.name%3D{name}"

    def _config_maps(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/configmaps?labelSelector=app%3Dbench"

    def _follow(
        self, path: str, is_it: Callable[[dict[str, Any]], bool], operation: Operation
    ) -> None:
        start = time.monotonic()
        while time.monotonic() < start + TIMEOUT_S:
            with closing(self._bed.api.follow(path, _WATCH_S)) as changes:
                if any(is_it(item) for item in changes):
                    return
            if self._is_over(operation):
                return
        raise TimeoutError(f"{path} never was as expected")

    def _is_over(self, operation: Operation) -> bool:
        items = (self._bed.api.get(RECORDS) or {})["items"]
        if operation.is_removal:
            return not items
        return any(_is_final(item, operation) for item in items)


@dataclass(slots=True)
class _Written:
    """Whether more than so many ConfigMaps say a value, as one after the other is seen."""

    value: str
    count: float
    names: set[str] = field(default_factory=set)

    def __call__(self, item: dict[str, Any]) -> bool:
        if item["data"]["value"] == self.value:
            self.names.add(item["metadata"]["name"])
        return len(self.names) > self.count


def status_of(record: dict[str, Any]) -> str:
    """Return the status that a record's labels tell."""
    return str(record["metadata"]["labels"]["status"])


def is_under_way(record: dict[str, Any]) -> bool:
    """Whether a record tells of an operation that has not ended."""
    status = status_of(record)
    return status.startswith("pending-") or status == "uninstalling"


def _is_final(record: dict[str, Any], operation: Operation) -> bool:
    version = int(record["metadata"]["labels"]["version"])
    return status_of(record) == "deployed" and version > operation.version


def _mark(job: dict[str, Any]) -> str:
    return str(job["metadata"]["annotations"][soakchart.MARK])
