"""``dependsOn``: whether a Kustomization may go ahead, in which order, and who waits in a circle.

Pure functions over the informer's objects; `readiness` judges by ``readyExpr`` for them. A cycle is
reported on its members alone; whoever merely depends on a member waits for it as for any other that
is not ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from api import meta
from runtime import conditions

if TYPE_CHECKING:
    from api.kustomize import Dependency, Kustomization

Key = tuple[str, str]
"""Namespace and name of a Kustomization."""
Lookup = Callable[[str, str], "Kustomization | None"]
"""Finds a Kustomization by namespace and name."""
Judge = Callable[["Dependency", Key], "str | None"]
"""Says by the ``readyExpr`` of an entry why its Kustomization is not ready; None when it is."""


class SourceKey(NamedTuple):
    """Names a source."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``Kind/namespace/name``."""
        return f"{self.kind}/{self.namespace}/{self.name}"


def key_of(item: Kustomization) -> Key:
    """Return the key of a Kustomization."""
    return (item.metadata.namespace, item.metadata.name)


def keys_of(item: Kustomization) -> list[Key]:
    """Return the keys of what a Kustomization depends on, in the order of its spec."""
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
    circle = cycle(item, lookup)
    if circle:
        names = " -> ".join(f"{namespace}/{name}" for namespace, name in circle)
        return f"circular dependency detected: {names}"
    for entry, key in zip(item.spec.depends_on, keys_of(item), strict=True):
        found = lookup(*key)
        if found is None:
            return f"{name_of(key)} not found"
        if judge and entry.ready_expr:
            reason = judge(entry, key)
        else:
            reason = None if _is_ready(found) else f"{name_of(key)} is not ready"
        reason = reason or _behind(item, revision, found)
        if reason:
            return reason
    return None


def judged(item: Kustomization, lookup: Lookup) -> tuple[str, ...]:
    """Return at which resourceVersions the dependencies are that a ``readyExpr`` judges."""
    pairs = zip(item.spec.depends_on, keys_of(item), strict=True)
    found = (lookup(*key) for entry, key in pairs if entry.ready_expr)
    return tuple(each.metadata.resource_version if each else "" for each in found)


def _behind(item: Kustomization, revision: str, dependency: Kustomization) -> str | None:
    same_source = source_of(item) == source_of(dependency)
    if same_source and dependency.status.last_applied_revision != revision:
        return f"{name_of(key_of(dependency))} revision is not up to date"
    return None


def _is_ready(item: Kustomization) -> bool:
    is_current = item.status.observed_generation == item.metadata.generation
    return is_current and conditions.is_true(item.status.conditions, meta.READY)


def cycle(item: Kustomization, lookup: Lookup) -> list[Key]:
    """Return a circle that leads from a Kustomization back to it, with both ends; or nothing."""
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


def in_order(items: Iterable[Kustomization]) -> list[Kustomization]:
    """Return Kustomizations with dependencies before dependants; members of a cycle come anyhow."""
    by_key = {key_of(item): item for item in items}
    return [by_key[key] for key in _post_order(by_key)]


def _post_order(by_key: dict[Key, Kustomization]) -> Iterator[Key]:
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
