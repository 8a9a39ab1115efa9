"""Whole fleets as people keep them in Git, and what a cluster shows once they are applied.

A fleet is a folder: ``kustomizations.yaml`` maps names to specs, ``repo`` is the repository,
``then`` holds the files of a second push. ``NAMESPACE`` in them stands for the test's namespace,
and files called ``*.sealed.yaml`` are encrypted before they are pushed. ``expected.json`` is what
is shown after each push, compared with what Flux shows when it was recorded::

    GITOPSD_RECORD=1 make parity ARGS='-k fleets'
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from api import meta
from kube import ownership
from kube.objects import GVK, ObjectId
from tests.support import encrypting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from api.kustomize import Kustomization
    from kube.objects import JsonObject
    from tests.support.kustomizer import World

AGE = encrypting.age_key()
_TIMES = re.compile(r"\b\d+(\.\d+)?(ms|µs|s)\b")
_TRANSIENT = frozenset({meta.DEPENDENCY_NOT_READY})
"""Reasons of events that are told or not, as things happen to overlap."""
_CONTROLLERS = frozenset({"kube-controller-manager", "kube-apiserver"})


def specs(fleet: Path, namespace: str) -> dict[str, dict[str, Any]]:
    """Return the specs of a fleet's Kustomizations by name, in the order to create them."""
    text = (fleet / "kustomizations.yaml").read_text().replace("NAMESPACE", namespace)
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return found


def files(folder: Path, namespace: str) -> dict[str, str]:
    """Return the files of a push by their path."""
    found = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        text = path.read_text().replace("NAMESPACE", namespace)
        is_sealed = path.name.endswith(".sealed.yaml")
        found[str(path.relative_to(folder))] = encrypting.seal(text, AGE) if is_sealed else text
    return found


async def shown(world: World, names: list[str]) -> dict[str, Any]:
    """Return conditions, inventories, events and objects, without what differs at each run."""
    items = {name: item for name in names if (item := world.get(name))}
    found = {
        "kustomizations": {name: _kustomization(item) for name, item in items.items()},
        "events": {name: _events(world, name) for name in names},
        "objects": {
            key: value for item in items.values() async for key, value in _objects(world, item)
        },
    }
    return _same_every_time(found, world)


def _kustomization(item: Kustomization) -> JsonObject:
    entries = item.status.inventory.entries if item.status.inventory else ()
    return {
        "conditions": [
            f"{each.type}={each.status} {each.reason}: {each.message}"
            for each in item.status.conditions
        ],
        "inventory": [f"{each.id} {each.v}" for each in entries],
        "history": [each.last_reconciled_status for each in item.status.history],
        "lastAppliedRevision": item.status.last_applied_revision,
    }


def _events(world: World, name: str) -> list[str]:
    return [
        f"{each.severity} {each.reason}: {each.message}"
        for each in world.events
        if each.involved.name == name and each.reason not in _TRANSIENT
    ]


async def _objects(world: World, item: Kustomization) -> Any:
    for entry in item.status.inventory.entries if item.status.inventory else ():
        namespace, name, group, kind = entry.id.split("_")
        resource = await world.context.discovery.resource(GVK(group, entry.v, kind))
        live = await world.context.client.get(resource, namespace, name)
        yield str(ObjectId(namespace, name, group, kind)), _object(live)


def _object(live: JsonObject) -> JsonObject:
    """Return who manages an object, and the value of each field that is ours."""
    metadata = ownership.read(orjson.dumps(live))
    ours = ownership.apply_entry(metadata, meta.KUSTOMIZE_MANAGER)
    fields = orjson.loads(bytes(ours.fields_v1)) if ours else {}
    return {
        "managers": [
            f"{each.manager} {each.operation} {each.subresource}".strip()
            for each in metadata.managed_fields
            if each.manager not in _CONTROLLERS
        ],
        "fields": dict(_values(fields, live, "")),
    }


def _values(fields: JsonObject, value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield path and value of each leaf of a ``fieldsV1`` tree."""
    below = [key for key in sorted(fields) if key != "."]
    if not below:
        yield path, value
    for key in below:
        mark, _, text = key.partition(":")
        if mark == "f":
            yield from _values(fields[key], value.get(text), f"{path}.{text}".lstrip("."))
        elif mark == "k":
            keys = orjson.loads(text)
            member = next(each for each in value if keys.items() <= each.items())
            yield from _values(fields[key], member, f"{path}[{text}]")
        else:
            yield f"{path}[{text}]", orjson.loads(text)


def _same_every_time(found: JsonObject, world: World) -> dict[str, Any]:
    text = orjson.dumps(found).decode()
    text = text.replace(world.revision, "REVISION").replace(world.namespace, "NAMESPACE")
    result: dict[str, Any] = orjson.loads(_TIMES.sub("TIME", text))
    return result
