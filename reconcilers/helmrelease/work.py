"""What one run knows of its release: chart, values, where its records are, and how it stands."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from kube.helm import digest, record
from reconcilers.helmchart import values as chart_values
from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease import names
from reconcilers.helmrelease import values as merging
from reconcilers.helmrelease.bundle import Owner
from runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.helm import HelmReleaseSpec, Snapshot
    from kube.health_rules import HealthRules
    from kube.helm.record import Record
    from kube.helm.storage import ReleaseStorage
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.bundle import Bundle
    from reconcilers.helmrelease.chart import Chart
    from reconcilers.helmrelease.drift import Drifted
    from reconcilers.helmrelease.program import Place
    from reconcilers.helmrelease.render import Renderer
    from reconcilers.helmrelease.state import Wanted
    from reconcilers.helmrelease.values import Values

LOG_LINES: Final = 10
"""Steps that the event of a failure tells of."""


@dataclass(slots=True)
class Ground:
    """Where a release is and is recorded, whatever it is made of."""

    attempt: Attempt
    place: Place
    storage: ReleaseStorage
    rules: HealthRules
    find_news: Callable[[], str | None]
    """Names what is newer than this run, if anything is."""
    name: str
    """The name of the release."""
    last: Record | None = None
    """The newest record, as it is in storage."""
    applied: Bundle | None = None
    """The objects of that record, where they were read."""
    drifted: list[Drifted] = field(default_factory=list)
    """The objects that are not as that record left them, as far as that was looked for."""
    steps: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))

    @property
    def spec(self) -> HelmReleaseSpec:
        """The spec of the HelmRelease."""
        return self.attempt.item.spec

    @property
    def owner(self) -> Owner:
        """Whose the objects are."""
        own = self.attempt.item.metadata
        return Owner((own.namespace, own.name), self.name, self.place.namespace)

    @property
    def newest(self) -> Snapshot | None:
        """The newest revision that the history has."""
        return histories.latest(self.attempt.status.history)

    async def read(self) -> None:
        """Read the newest record.

        Raises:
            RecordError: it cannot be read.
            ApiError: the API server refused, or did not answer.
        """
        self.last = await self.storage.last(self.name)
        self.applied = None

    async def in_force(self) -> Record | None:
        """Return the record that an upgrade goes on from: the last deployed one, or the newest.

        Raises:
            RecordError: it cannot be read.
            ApiError: the API server refused, or did not answer.
        """
        if self.last is None or self.last.status == record.DEPLOYED:
            return self.last
        heads = await self.storage.heads(self.name)
        served = [head.version for head in heads if head.status == record.DEPLOYED]
        return await self.storage.get(self.name, max(served)) if served else self.last

    def log(self, text: str) -> None:
        """Note a step, for the event of a failure."""
        now = clock.rfc3339(self.attempt.context.clock.now())
        self.steps.append(f"{now}: {text}")

    def with_log(self, text: str) -> str:
        """Return the text of a failure's event: with the last steps before it."""
        lines = "\n".join(self.steps)
        return f"{text}\n\nLast Helm logs:\n\n{lines}" if lines else text


@dataclass(slots=True, kw_only=True)
class Work(Ground):
    """A release that can be made: its ground, and what it is made of."""

    chart: Chart
    values: Values
    wanted: Wanted
    renderer: Renderer

    def preserve_values(self) -> None:
        """Want the values over those of the newest record, where an upgrade is to keep these."""
        upgrade = self.spec.upgrade
        if upgrade is not None and upgrade.preserve_values and self.last is not None:
            kept = chart_values.merge(self.last.config, merging.plain(self.values.merged))
            self.wanted = replace(self.wanted, config_digest=digest.of_values(kept))


def release_id(ground: Ground) -> str:
    """Return how messages call a release whose revision is not known: ``<namespace>/<name>``."""
    return f"{names.release_namespace(ground.attempt.item)}/{ground.name}"
