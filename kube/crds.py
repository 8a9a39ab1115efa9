"""Installs the definitions of the kinds that the daemon serves, and never takes anything away.

A definition that is absent is created. One that is there is somebody's: a Kustomization's, Flux's,
or ours from an earlier version. What some owner applies from Git is left to it. Our own is brought
up to date; any other is extended where it lacks a version or a field that we need. Nothing is ever
taken away: every version, stored version and schema field stays, so that no stored object loses
anything and Flux can have its definitions back at any time. A foreign definition that lacks nothing
is as new as ours or newer, and stays as it is.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import logging
import random
import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

import api
from api import meta
from kube import errors, watch
from kube.discovery import Discovery
from kube.objects import GVK, Resource
from runtime.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kube.client import Client
    from kube.objects import JsonObject

_log = logging.getLogger(__name__)

RESOURCE: Final = Resource(
    GVK("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    "customresourcedefinitions",
    is_namespaced=False,
)
ESTABLISHED_S: Final = 30.0
"""Seconds that a definition may take until the API server serves it."""
DEFINITION: Final = "gitopsd.dev/definition"
"""Annotation of a definition that we wrote: the daemon's version and a digest of what it wrote."""
_OWNER_LABELS: Final = (
    meta.OWNER_NAME,
    "helm.toolkit.fluxcd.io/name",
    f"{meta.INSTANCE_GROUP}/name",
)
_TRIES: Final = 3
_DISCOVERY_PAUSE_S: Final = 0.02


class Action(enum.StrEnum):
    """What was done about one definition."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    LEFT = "left to its owner"


@dataclass(slots=True, frozen=True)
class Outcome:
    """One definition after `install`."""

    name: str
    action: Action
    owner: str = ""
    """Who it was left to: the value of an owner label."""
    lacks: tuple[str, ...] = ()
    """What we need and a definition that was left to its owner does not have."""


class _Definition(meta.Struct, frozen=True):
    metadata: meta.ObjectMeta
    status: _Status | None = None


class _Status(meta.Struct, frozen=True):
    conditions: tuple[_Condition, ...] = ()


class _Condition(meta.Struct, frozen=True):
    type: str
    status: str
    message: str = ""


async def install(client: Client, definitions: Iterable[JsonObject]) -> list[Outcome]:
    """Install or extend definitions and wait until the API server serves their kinds.

    Args:
        client: the daemon's own.
        definitions: CustomResourceDefinitions (apiextensions.k8s.io/v1).

    Raises:
        Forbidden: RBAC does not let the daemon do it.
        ServerError: a definition is not established in time.
        ApiError: another refusal.
    """
    done = [(wanted, await _install(client, wanted)) for wanted in definitions]
    for wanted, outcome in done:
        if outcome.action in {Action.CREATED, Action.UPDATED}:
            fields = {"definition": outcome.name, "action": outcome.action}
            _log.info("definition installed", extra=fields)
            await wait_served(client, wanted)
    return [outcome for _, outcome in done]


async def wait_served(client: Client, definition: JsonObject) -> None:
    """Wait until the API server serves every version of a definition that was just written.

    Args:
        client: any that may read definitions and what they define.
        definition: the CustomResourceDefinition.

    Raises:
        ServerError: it takes longer than `ESTABLISHED_S`.
        ApiError: another refusal.
    """
    name, spec = definition["metadata"]["name"], definition["spec"]
    discovery = Discovery(client, SystemClock())
    try:
        async with asyncio.timeout(ESTABLISHED_S):
            await _wait_established(client, name)
            for version in spec["versions"]:
                if version["served"]:
                    gvk = GVK(spec["group"], version["name"], spec["names"]["kind"])
                    await _wait_discovered(discovery, gvk)
    except TimeoutError as error:
        message = f"CustomResourceDefinition/{name} is not served after {ESTABLISHED_S:.0f} s"
        raise errors.ServerError(0, "", message) from error


async def _wait_discovered(discovery: Discovery, gvk: GVK) -> None:
    """Wait for discovery, which follows the condition a moment later and has no watch."""
    while True:
        try:
            await discovery.resource(gvk)
        except errors.NoMatch:
            discovery.invalidate(gvk.group)
            await asyncio.sleep(_DISCOVERY_PAUSE_S)
        else:
            return


async def _install(client: Client, wanted: JsonObject) -> Outcome:
    name = wanted["metadata"]["name"]
    for _ in range(_TRIES - 1):
        try:
            return await _install_once(client, name, wanted)
        except errors.Conflict:
            continue  # somebody else wrote it at the same moment
    return await _install_once(client, name, wanted)


async def _install_once(client: Client, name: str, wanted: JsonObject) -> Outcome:
    try:
        live = await client.get(RESOURCE, "", name)
    except errors.NotFound:
        body = orjson.dumps(_stamped(wanted, wanted))
        await client.create(RESOURCE, "", body, manager=meta.DAEMON_MANAGER)
        return Outcome(name, Action.CREATED)
    lacks = tuple(missing(wanted["spec"], live["spec"]))
    labels = live["metadata"].get("labels") or {}
    for label in _OWNER_LABELS:
        if label in labels:
            return Outcome(name, Action.LEFT, owner=labels[label], lacks=lacks)
    if not lacks and not _is_outdated(wanted, live):
        return Outcome(name, Action.UNCHANGED)
    extended = live | {"spec": extend(wanted["spec"], live["spec"])}
    body = orjson.dumps(_stamped(extended, wanted))
    await client.replace(RESOURCE, "", name, body, manager=meta.DAEMON_MANAGER)
    return Outcome(name, Action.UPDATED)


def _stamp(wanted: JsonObject) -> str:
    canonical = orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)
    return f"{api.__version__} {hashlib.blake2b(canonical, digest_size=16).hexdigest()}"


def _stamped(obj: JsonObject, wanted: JsonObject) -> JsonObject:
    metadata = obj["metadata"]
    annotations = (metadata.get("annotations") or {}) | {DEFINITION: _stamp(wanted)}
    return obj | {"metadata": metadata | {"annotations": annotations}}


def _is_outdated(wanted: JsonObject, live: JsonObject) -> bool:
    """Tell whether a definition is our own and not from a newer version of the daemon."""
    stamp = (live["metadata"].get("annotations") or {}).get(DEFINITION, "")
    if not stamp or stamp == _stamp(wanted):
        return False
    return _numbers(stamp.partition(" ")[0]) <= _numbers(api.__version__)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def missing(wanted: JsonObject, live: JsonObject) -> Iterator[str]:
    """Yield what a definition's spec has and another lacks: versions, and fields of their schemas.

    Args:
        wanted: the spec that has it.
        live: the spec that may lack it.
    """
    versions = {version["name"]: version for version in live["versions"]}
    for version in wanted["versions"]:
        name = version["name"]
        if name not in versions:
            yield name
        elif not versions[name]["served"]:
            yield f"{name} (not served)"
        else:
            yield from _missing_fields(_schema(version), _schema(versions[name]), name)


def extend(wanted: JsonObject, live: JsonObject) -> JsonObject:
    """Return a definition's spec with everything that two specs have.

    Args:
        wanted: counts where both say something else.
        live: the definition in the cluster.
    """
    ours = {version["name"]: version for version in wanted["versions"]}
    versions = []
    for old in live["versions"]:
        new = ours.pop(old["name"], None)
        versions.append(old if new is None else _extend_version(new, old))
    versions += ours.values()
    stored = {version["name"] for version in versions if version["storage"]}
    newest = max(stored, key=_priority)
    return live | {
        "versions": [version | {"storage": version["name"] == newest} for version in versions]
    }


def _priority(version: str) -> tuple[int, int, int]:
    """Order versions as Kubernetes does: v1beta2 < v1beta10 < v1 < v2; unknown forms come first."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (0, 0, 0)
    major, stage, minor = match.groups()
    return ({"alpha": 1, "beta": 2}.get(stage, 3), int(major), int(minor or 0))


def _extend_version(new: JsonObject, old: JsonObject) -> JsonObject:
    schema = {"openAPIV3Schema": _extend_schema(_schema(new), _schema(old))}
    return old | new | {"schema": schema, "storage": old["storage"] or new["storage"]}


def _extend_schema(new: Any, old: Any) -> Any:  # noqa: ANN401 - a schema's parts may be anything
    if not isinstance(new, dict) or not isinstance(old, dict):
        return new
    if "additionalProperties" in old and "additionalProperties" not in new:
        return old  # a map stays a map: a structural schema cannot be both
    result = dict(new)
    if old.get("x-kubernetes-preserve-unknown-fields"):
        result["x-kubernetes-preserve-unknown-fields"] = True
    if "properties" in old:
        ours = new.get("properties") or {}
        result["properties"] = old["properties"] | {
            name: _extend_schema(schema, old["properties"].get(name))
            for name, schema in ours.items()
        }
    for part in ("items", "additionalProperties"):
        if part in old:
            result[part] = _extend_schema(new.get(part, old[part]), old[part])
    return result


def _missing_fields(new: JsonObject, old: JsonObject, path: str) -> Iterator[str]:
    if old.get("x-kubernetes-preserve-unknown-fields"):
        return
    known = old.get("properties") or {}
    for name, schema in (new.get("properties") or {}).items():
        if name in known:
            yield from _missing_fields(schema, known[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}"
    for part in ("items", "additionalProperties"):
        if isinstance(new.get(part), dict) and isinstance(old.get(part), dict):
            yield from _missing_fields(new[part], old[part], path)


def _schema(version: JsonObject) -> JsonObject:
    schema: JsonObject = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return schema


async def _wait_established(client: Client, name: str) -> None:
    changes = watch.watch(
        client,
        RESOURCE,
        _Definition,
        watch.Selection(field_selector=f"metadata.name={name}"),
        clock=SystemClock(),
        rng=random.Random(),  # noqa: S311 - spreads load, hides nothing
    )
    async with aclosing(changes):
        async for change in changes:
            if _is_established(change):
                return


def _is_established(change: watch.Change[_Definition]) -> bool:
    match change:
        case watch.Listed(items):
            found = items
        case watch.Added(item) | watch.Modified(item):
            found = (item,)
        case _:
            return False
    return any(
        condition.type == "Established" and condition.status == "True"
        for item in found
        if item.status
        for condition in item.status.conditions
    )
