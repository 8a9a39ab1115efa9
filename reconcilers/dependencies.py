"""``dependsOn``: whether an object may go ahead, in which order, and who waits in a circle.

Pure functions over the informer's objects, Kustomizations or HelmReleases, which depend on their
own kind; `readiness` judges by ``readyExpr`` for them. A cycle is
reported on its members alone; whoever merely depends on a member waits for it as for any other that
is not ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from api import meta
from runtime import conditions

if TYPE_CHECKING:
    from api.kustomize import Kustomization
    from api.meta import Condition, ObjectMeta

Key = tuple[str, str]
"""Namespace and name of an object that others of its kind depend on."""


class Entry(Protocol):
    """One entry of ``dependsOn``."""

    @property
    def name(self) -> str:
        """Name of the object that must be ready first."""
        ...

    @property
    def namespace(self) -> str:
        """Its namespace; empty for the dependant's own."""
        ...

    @property
    def ready_expr(self) -> str:
        """An expression that says when it is ready; empty for the usual condition."""
        ...


class Ordered(Protocol):
    """The part of a spec that says what comes first."""

    @property
    def depends_on(self) -> Sequence[Entry]:
        """What must be ready first."""
        ...


class Observed(Protocol):
    """The part of a status that dependants judge by."""

    @property
    def observed_generation(self) -> int:
        """The generation that was reconciled last."""
        ...

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """How it stands."""
        ...


class Dependent(Protocol):
    """An object that may depend on others of its kind."""

    @property
    def metadata(self) -> ObjectMeta:
        """Its metadata."""
        ...

    @property
    def spec(self) -> Ordered:
        """Its spec."""
        ...

    @property
    def status(self) -> Observed:
        """Its status."""
        ...


T = TypeVar("T", bound=Dependent)
Find = Callable[[str, str], "Dependent | None"]
"""Finds an object by namespace and name."""
Lookup = Callable[[str, str], "Kustomization | None"]
"""Finds a Kustomization by namespace and name."""
Judge = Callable[[Entry, Key], "str | None"]
"""Says by the ``readyExpr`` of an entry why its object is not ready; None when it is."""


class SourceKey(NamedTuple):
    """Names a source."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``Kind/namespace/name``."""
        return f"{self.kind}/{self.namespace}/{self.name}"


def key_of(item: Dependent) -> Key:
    """Return the key of an object."""
    return (item.metadata.namespace, item.metadata.name)


def keys_of(item: Dependent) -> list[Key]:
    """Return the keys of what an object depends on, in the order of its spec."""
    own = item.metadata.namespace
    return [(entry.namespace or own, entry.name) for entry in item.spec.depends_on]


def name_of(key: Key) -> str:
    """Return how messages name a dependency."""
    return f"dependency '{key[0]}/{key[1]}'"


def source_of(item: Kustomization) -> SourceKey:
    """Return the source that a Kustomization applies."""
    source = item.spec.source_ref
    return SourceKey(source.kind, source.namespace or item.metadata.namespace, source.name)


def unmet(
    item: Kustomization, revision: str, lookup: Lookup, judge: Judge | None = None
) -> str | None:
    """Return why a Kustomization has to wait, or None when it may go ahead.

    Args:
        item: the one that wants to go ahead.
        revision: the revision of its source's artifact.
        lookup: finds the others.
        judge: judges the entries that have a ``readyExpr``, in place of the Ready condition.

    Returns:
        Flux's words for the first dependency, in the order of the spec, that is not met.
    """
    circle = _circle(item, lookup)
    if circle:
        return circle
    for entry, key in zip(item.spec.depends_on, keys_of(item), strict=True):
        found = lookup(*key)
        if found is None:
            return f"{name_of(key)} not found"
        reason = _not_ready(entry, key, found, judge) or _behind(item, revision, found)
        if reason:
            return reason
    return None


def waits_for(item: Dependent, find: Find, judge: Judge | None = None) -> str | None:
    """Return why an object has to wait for others of its kind, None when it may go ahead.

    Args:
        item: the one that wants to go ahead.
        find: finds the others.
        judge: judges the entries that have a ``readyExpr``, in place of the Ready condition.
    """
    circle = _circle(item, find)
    if circle:
        return circle
    for entry, key in zip(item.spec.depends_on, keys_of(item), strict=True):
        found = find(*key)
        if found is None:
            return f"unable to get '{key[0]}/{key[1]}' dependency: not found"
        reason = _not_ready(entry, key, found, judge)
        if reason:
            return reason
    return None


def _circle(item: Dependent, find: Find) -> str | None:
    circle = cycle(item, find)
    names = " -> ".join(f"{namespace}/{name}" for namespace, name in circle)
    return f"circular dependency detected: {names}" if circle else None


def _not_ready(entry: Entry, key: Key, found: Dependent, judge: Judge | None) -> str | None:
    if judge and entry.ready_expr:
        return judge(entry, key)
    return None if is_ready(found) else f"{name_of(key)} is not ready"


def judged(item: Dependent, lookup: Find) -> tuple[str, ...]:
    """Return at which resourceVersions the dependencies are that a ``readyExpr`` judges."""
    pairs = zip(item.spec.depends_on, keys_of(item), strict=True)
    found = (lookup(*key) for entry, key in pairs if entry.ready_expr)
    return tuple(each.metadata.resource_version if each else "" for each in found)


def _behind(item: Kustomization, revision: str, dependency: Kustomization) -> str | None:
    same_source = source_of(item) == source_of(dependency)
    if same_source and dependency.status.last_applied_revision != revision:
        return f"{name_of(key_of(dependency))} revision is not up to date"
    return None


def is_ready(item: Dependent) -> bool:
    """Whether an object is ready in its present generation."""
    is_current = item.status.observed_generation == item.metadata.generation
    return is_current and conditions.is_true(item.status.conditions, meta.READY)


def cycle(item: Dependent, lookup: Find) -> list[Key]:
    """Return a circle that leads from an object back to it, with both ends; or nothing."""
    start = key_of(item)
    paths = [[start, key] for key in keys_of(item)]
    seen: set[Key] = set()
    while paths:
        path = paths.pop()
        if path[-1] == start:
            return path
        if path[-1] in seen:
            continue
        seen.add(path[-1])
        found = lookup(*path[-1])
        paths.extend([*path, key] for key in (keys_of(found) if found else ()))
    return []


def in_order(items: Iterable[T]) -> list[T]:
    """Return objects with dependencies before dependants; members of a cycle come anyhow."""
    by_key = {key_of(item): item for item in items}
    return [by_key[key] for key in _post_order(by_key)]


def _post_order(by_key: dict[Key, T]) -> Iterator[Key]:
    """Yield every key once, what it depends on first."""
    entered: set[Key] = set()
    stack: list[tuple[Key, bool]] = [(key, False) for key in reversed(by_key)]
    while stack:
        key, is_done = stack.pop()
        if is_done:
            yield key
        elif key not in entered and key in by_key:
            entered.add(key)
            stack.append((key, True))
            stack.extend((entry, False) for entry in reversed(keys_of(by_key[key])))
