"""Waits until objects are what their specs ask for, woken by watches instead of polling.

Every object is judged once. What is not Current yet is looked at again when its metadata changes:
the tracker's watches tell for our own objects, and one watch per object, for the time of the wait,
for those of others. While it waits the run holds no worker. It ends early when an object has
failed, and at once when the Kustomization or its source has become newer.

::

    HealthError      an object is not healthy; message as Flux words it
    CancelledByNews  something newer is to be applied
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from kube import errors, health, pool, watch
from kube.health import Health, State
from kube.health_rules import KSTATUS, HealthRules
from kube.objects import GVK, ObjectId, PartialObject

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable

    from kube.client import Client
    from kube.discovery import Discovery
    from kube.feed import Changes
    from kube.objects import JsonObject
    from kube.tracker import Tracker
    from runtime.clock import Clock

TICK_S: Final = 5.0
"""Seconds after which everything pending is looked at again although nothing was told: some rules
depend on the time, and where watches are forbidden this is the only way."""
NEWS_TICK_S: Final = 1.0
"""Seconds between questions whether there is news, once a wake-up has said that there may be."""
LOOKS: Final = 8
"""Objects looked at side by side."""
_ALWAYS_CURRENT: Final = frozenset(
    {
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("networking.k8s.io", "NetworkPolicy"),
    }
)
"""Kinds without a status: they are Current for as long as they exist, which the tracker knows."""
_REPORTED_FIRST: Final = frozenset({("apps", "Deployment")})
"""Kinds that are never Current before their controller has told of their generation."""


class HealthError(Exception):
    """Objects are not healthy; the message names them."""


class CancelledByNews(Exception):  # noqa: N818 - says what happened
    """Something newer is to be applied, so the wait is pointless; the message names what it is."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One object to judge."""

    id: ObjectId
    version: str
    """The API version its kind was declared in; empty for any."""
    expires: bool = False
    """Whether it removes itself when it is done, so that its absence means success."""


@dataclass(slots=True)
class Seen:
    """The resourceVersions at which objects were found Current, of one Kustomization.

    An object whose metadata has not changed since needs no second look. Nor does one that was just
    written need a first: the answer to the write shows how it is.
    """

    versions: dict[ObjectId, int] = field(default_factory=dict)
    answers: dict[ObjectId, tuple[Health, int]] = field(default_factory=dict)
    """What the last write's answer said, and its resourceVersion; each is used once."""
    rules: HealthRules = KSTATUS
    """By what they were found so."""

    def judge_by(self, rules: HealthRules) -> None:
        """Judge by these rules from now on; what other rules found does not count any more."""
        self.answers.clear()
        if rules != self.rules:
            self.versions.clear()
            self.rules = rules

    def note(self, obj: ObjectId, raw: bytes, clock: Clock) -> None:
        """Judge an object by the answer to a write of it; a failure deserves a look of its own."""
        live = orjson.loads(raw)
        state = self.rules.assess(live, clock.now())
        if state.status in {State.CURRENT, State.IN_PROGRESS}:
            self.answers[obj] = state, _version(live)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a wait needs of its surroundings."""

    client: Client
    discovery: Discovery
    tracker: Tracker
    clock: Clock
    rng: random.Random
    """Spreads the pauses of watches."""
    superseded: asyncio.Event
    """Set when the Kustomization was woken meanwhile."""
    find_news: Callable[[], str | None]
    """What brought anything newer to apply, if anything did: ``Kind/namespace/name``."""
    between: Callable[[], Awaitable[None]]
    """Called on a wake-up that brought nothing newer; puts drift right."""


class Watcher:
    """Judges one set of objects until all are healthy or one never will be.

    Args:
        wait: the surroundings.
        checks: the objects.
        seen: what is known from earlier waits; brought up to date.
    """

    def __init__(self, wait: Wait, checks: Iterable[Checked], seen: Seen) -> None:
        self._wait, self._seen = wait, seen
        self._checks = {check.id: check for check in checks}
        self._states: dict[ObjectId, Health] = {}
        self._looked: dict[ObjectId, int] = {}
        self._pending: set[ObjectId] = set()
        seen.versions = {
            obj: version for obj, version in seen.versions.items() if obj in self._checks
        }

    async def look(self) -> bool:
        """Judge everything that is not known to be well; return whether all of it is.

        Raises:
            HealthError: an object has failed.
        """
        self._pending = {obj for obj in self._checks if not self._is_known(obj)}
        await self._judge(self._pending)
        return not self._pending

    async def until_healthy(self, timeout_s: float) -> None:
        """Wait for what `look` left pending.

        Raises:
            HealthError: an object has failed, or the time is up.
            CancelledByNews: something newer is to be applied.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._follow()
        except TimeoutError:
            late = [(obj, self._states.get(obj)) for obj in sorted(self._pending)]
            unseen = next((obj for obj, state in late if state is None), None)
            if unseen is not None:
                raise HealthError(health.describe_unseen(unseen)) from None
            known = [(obj, state) for obj, state in late if state is not None]
            raise HealthError(health.describe_timeout(known)) from None

    async def _follow(self) -> None:
        """Look whenever something happens, with a few watches beside."""
        ended: Exception | None = None
        with self._wait.tracker.feed.subscribe(self._checks) as changes:
            async with asyncio.TaskGroup() as tasks:
                beside = [_announce(self._wait.superseded, changes)]
                beside += [
                    _follow_foreign(self._wait, self._checks[obj], changes)
                    for obj in self._pending
                    if not self._wait.tracker.owners(obj)
                ]
                children = [tasks.create_task(each, name="health watch") for each in beside]
                try:
                    await self._loop(changes)
                except (HealthError, CancelledByNews) as err:
                    ended = err  # raised outside, where no group wraps it
                for child in children:
                    child.cancel()
        if ended is not None:
            raise ended

    async def _loop(self, changes: Changes) -> None:
        # Only what has changed since it was looked at, and what no watch tells of.
        await self._judge(
            obj
            for obj in self._worth_a_look(self._pending)
            if self._known_version(obj) != self._looked.get(obj)
        )
        looked_s = self._wait.clock.monotonic()
        while self._pending:
            changed: set[ObjectId] = set()
            tick_s = NEWS_TICK_S if self._wait.superseded.is_set() else TICK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick_s):
                    changed = self._worth_a_look(await changes.wait())
            if self._wait.superseded.is_set():
                await self._look_for_news()
            if self._wait.clock.monotonic() - looked_s >= TICK_S:
                changed, looked_s = set(self._pending), self._wait.clock.monotonic()
            await self._judge(changed & self._pending)

    async def _look_for_news(self) -> None:
        """Find out what a wake-up was for, and put drift right if it was for that.

        Raises:
            CancelledByNews: something newer is to be applied.
        """
        news = self._wait.find_news()
        if news is not None:
            raise CancelledByNews(news)
        await self._wait.between()

    def _is_known(self, obj: ObjectId) -> bool:
        live = self._wait.tracker.live(obj)
        if live is None or live.is_deleting:
            return False
        kind = (obj.group, obj.kind)
        is_current = kind in _ALWAYS_CURRENT and not self._seen.rules.has_rule(*kind)
        return is_current or self._seen.versions.get(obj) == live.resource_version

    def _worth_a_look(self, objects: Iterable[ObjectId]) -> set[ObjectId]:
        """Return those of some objects that may have become something else than in progress."""
        return {obj for obj in objects if self._may_be_settled(obj)}

    def _may_be_settled(self, obj: ObjectId) -> bool:
        kind = (obj.group, obj.kind)
        if kind not in _REPORTED_FIRST or self._seen.rules.has_rule(*kind):
            return True
        live = self._wait.tracker.live(obj)
        return live is None or live.is_deleting or live.is_reported

    async def _judge(self, objects: Iterable[ObjectId]) -> None:
        """Look at objects and settle those that are well.

        Raises:
            HealthError: one has failed.
        """
        await pool.each(sorted(objects), self._judge_one, LOOKS)
        failed = [
            (obj, state) for obj, state in self._states.items() if state.status is State.FAILED
        ]
        if failed:
            raise HealthError(health.describe_failed(sorted(failed)))

    async def _judge_one(self, obj: ObjectId) -> None:
        state, version = await self._assess(self._checks[obj])
        self._states[obj], self._looked[obj] = state, version
        if state.status is State.CURRENT:
            self._pending.discard(obj)
            self._seen.versions[obj] = version
        else:
            self._pending.add(obj)
            self._seen.versions.pop(obj, None)

    async def _assess(self, check: Checked) -> tuple[Health, int]:
        obj = check.id
        answer = self._seen.answers.pop(obj, None)
        known = self._known_version(obj)
        if answer is not None and (answer[1] == known or not self._may_be_settled(obj)):
            return answer[0], known
        try:
            resource = await self._wait.discovery.for_group_kind(obj.group, obj.kind, check.version)
            live = await self._wait.client.get(resource, obj.namespace, obj.name)
        except errors.NoMatch:
            return Health(State.UNKNOWN, _unknown_kind(obj)), 0
        except errors.NotFound:
            return health.CURRENT if check.expires else Health(State.NOT_FOUND), 0
        except errors.ApiError as err:
            return Health(State.UNKNOWN, err.message), 0
        return self._seen.rules.assess(live, self._wait.clock.now()), _version(live)

    def _known_version(self, obj: ObjectId) -> int:
        """Return the resourceVersion that the tracker knows an object at; -1 for none."""
        live = self._wait.tracker.live(obj)
        return live.resource_version if live else -1


def _version(live: JsonObject) -> int:
    return int(live.get("metadata", {}).get("resourceVersion") or 0)


def _unknown_kind(obj: ObjectId) -> str:
    return f'no matches for kind "{obj.kind}" in group "{obj.group}"'


async def _announce(superseded: asyncio.Event, changes: Changes) -> None:
    """Wake the loop when the Kustomization is woken."""
    await superseded.wait()
    changes.publish(next(iter(changes.ids)))


async def _follow_foreign(wait: Wait, check: Checked, changes: Changes) -> None:
    """Watch one object that no inventory names, for as long as the wait lasts."""
    obj = check.id
    selection = watch.Selection(
        namespace=obj.namespace,
        field_selector=f"metadata.name={obj.name}",
        metadata_only=True,
    )
    try:
        resource = await wait.discovery.for_group_kind(obj.group, obj.kind, check.version)
        stream = watch.watch(
            wait.client, resource, PartialObject, selection, clock=wait.clock, rng=wait.rng
        )
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                if not isinstance(event, watch.Bookmark):
                    changes.publish(obj)
    except errors.ApiError:
        return  # the tick looks in its place


def named_gvk(api_version: str, kind: str) -> GVK:
    """Return the kind a health check names; ``apps/v1`` where it gives no version, as in Flux."""
    group, _, version = (api_version or "apps/v1").rpartition("/")
    return GVK(group, version, kind)
