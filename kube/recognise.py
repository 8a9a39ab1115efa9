"""Recognises objects that are as desired already, from one list instead of a dry run of each.

Where every cache is lost nothing is known of what was applied, although nearly all of it is in
place. The live object shows that by itself: where our entry in ``managedFields`` names exactly the
fields of the manifest, and each of them has the manifest's value, an apply changes nothing. What is
less clear than that is left to a dry run: a value that the server writes in another way, a list
that somebody put into another order, an object with leftovers of somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from api import meta
from kube import errors, ownership
from kube.desired import Flag
from kube.objects import ObjectId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kube.objects import JsonObject, Resource
    from kube.target import Session, Target

MANY: Final = 16
"""Objects of a kind from which on a list of them is cheaper than a dry run of each."""
YIELD_EVERY: Final = 50
"""Objects looked at before other work of the loop has a turn."""
_UNCLEAR: Final = Flag.IGNORE | Flag.IF_NOT_PRESENT | Flag.FOREIGN
_IDENTITY: Final = frozenset({"apiVersion", "kind"})
_NAMES: Final = frozenset({"name", "namespace"})


class _Page(meta.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()


_PAGES: Final = msgspec.json.Decoder(_Page)


async def settle(session: Session, targets: Iterable[Target]) -> set[ObjectId]:
    """Note which of some objects are as desired.

    Args:
        session: whose apply.
        targets: objects that would have to be asked about.

    Returns:
        Those that are; a list that was refused shows none.
    """
    by_resource: dict[Resource, dict[ObjectId, Target]] = {}
    for each in targets:
        if _is_only_forgotten(session, each):
            by_resource.setdefault(each.resource, {})[each.desired.id] = each
    found: set[ObjectId] = set()
    for resource, wanted in by_resource.items():
        if len(wanted) >= MANY:
            with contextlib.suppress(errors.ApiError):  # a dry run says what is wrong
                await _from_list(session, resource, wanted, found)
    return found


async def _from_list(
    session: Session,
    resource: Resource,
    wanted: Mapping[ObjectId, Target],
    found: set[ObjectId],
) -> None:
    """List what carries the owner's labels, page by page, and settle what is as desired."""
    labels = session.identity.labels(session.owner)
    namespaces = {obj.namespace for obj in wanted}
    pages = session.client.list_pages(
        resource,
        namespace=namespaces.pop() if len(namespaces) == 1 else "",
        label_selector=",".join(f"{key}={value}" for key, value in labels.items()),
    )
    gvk = resource.gvk
    async for page in pages:
        for number, raw in enumerate(_PAGES.decode(page).items):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            metadata = ownership.read(bytes(raw))
            obj = ObjectId(metadata.namespace, metadata.name, gvk.group, gvk.kind)
            target = wanted.get(obj)
            if target and _is_as_desired(session, target, bytes(raw)):
                session.ledger.settle(session.owner, target.desired, metadata)
                found.add(obj)


def _is_only_forgotten(session: Session, target: Target) -> bool:
    """Whether an object is there, and there is no other reason to ask about it."""
    ledger, obj = session.ledger, target.desired.id
    is_asked = session.verify or obj in session.ignored or ledger.baseline(obj) is not None
    return not is_asked and ledger.live(obj) is not None


def _is_as_desired(session: Session, target: Target, raw: bytes) -> bool:
    desired, metadata = target.desired, ownership.read(raw)
    live = session.ledger.look(session.owner.kind, desired.id, metadata)
    if live.is_deleting or (desired.flags | live.flags) & _UNCLEAR:
        return False
    entry = ownership.apply_entry(metadata, session.identity.manager)
    if entry is None or entry.api_version != desired.gvk.api_version:
        return False
    manifest = orjson.loads(session.reader.read(desired))
    return is_applied(manifest, orjson.loads(raw), orjson.loads(bytes(entry.fields_v1)))


def is_applied(manifest: JsonObject, live: JsonObject, fields: JsonObject) -> bool:
    """Whether an apply of a manifest would surely change nothing.

    Args:
        manifest: what would be applied.
        live: the object as it is.
        fields: the ``fieldsV1`` of the applier's own entry in it.
    """
    body = {key: value for key, value in manifest.items() if key not in _IDENTITY}
    metadata = {key: value for key, value in body.pop("metadata").items() if key not in _NAMES}
    return _holds(fields, body | ({"metadata": metadata} if metadata else {}), live)


def _holds(fields: JsonObject, wanted: object, live: object) -> bool:
    """Whether a value is owned whole, and is what is wanted."""
    owned = [key for key in fields if key != "."]
    if wanted == {} and isinstance(live, dict):
        return not owned  # what is in it was filled in; nobody can have changed it and left it ours
    if not owned:  # a scalar, or a map or list that is owned as one
        return _canonical(wanted) == _canonical(live)  # 1, 1.0 and true are three values here
    if isinstance(wanted, dict) and isinstance(live, dict):
        return _map_holds(fields, owned, wanted, live)
    if isinstance(wanted, list) and isinstance(live, list):
        return _list_holds(fields, owned, wanted, live)
    return False


def _map_holds(fields: JsonObject, owned: list[str], wanted: JsonObject, live: JsonObject) -> bool:
    if {f"f:{name}" for name in wanted} != set(owned):
        return False
    return all(
        name in live and _holds(fields[f"f:{name}"], value, live[name])
        for name, value in wanted.items()
    )


def _list_holds(
    fields: JsonObject, owned: list[str], wanted: list[object], live: list[object]
) -> bool:
    """Compare the members that we own, which lie between those of others, in their order."""
    if len(owned) != len(wanted):
        return False
    places = []
    for member in wanted:
        keys = [key for key in owned if _is_member(key, member, _defaulted(key, fields[key]))]
        found = [place for place, other in enumerate(live) if keys and _is_member(keys[0], other)]
        if len(keys) != 1 or len(found) != 1:
            return False
        if not _holds(fields[keys[0]], member, live[found[0]]):
            return False
        places.append(found[0])
    return places == sorted(places)


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _defaulted(key: str, fields: JsonObject) -> frozenset[str]:
    """Return which keys of a list's member the server filled in: those that we do not own."""
    if not key.startswith("k:"):
        return frozenset()
    return frozenset(name for name in orjson.loads(key[2:]) if f"f:{name}" not in fields)


def _is_member(key: str, member: object, optional: frozenset[str] = frozenset()) -> bool:
    """Whether a key of ``fieldsV1`` means a member of a list, which may lack some of its keys."""
    mark, _, text = key.partition(":")
    if mark == "v":
        return bool(orjson.loads(text) == member)
    if mark != "k" or not isinstance(member, dict):
        return False
    keys: JsonObject = orjson.loads(text)
    return all(
        member[name] == value if name in member else name in optional
        for name, value in keys.items()
    )
