"""Who owns what of a live object, as one small digest that changes when somebody takes a field.

The API server keeps, per manager, the set of fields it owns. A field of ours that anybody else
changes leaves our entry, so a digest of the object's uid and of our own entry answers "is there
drift?" without reading the object and without a dry run. A write of the same value, or of a field
we do not own, leaves the entry alone. The entry's time is part of the digest because an apply
under our own name with other values changes nothing else. Everything here is pure.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import orjson

from api import meta
from kube import ignore
from kube.desired import DIGEST_SIZE, Flag, flags_of
from kube.objects import ManagedField, PartialMeta, PartialObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

APPLY: Final = "Apply"
UPDATE: Final = "Update"
_STATUS: Final = "status"
_OBSERVED: Final = b'"f:observedGeneration"'

LEGACY_ANNOTATIONS: Final = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
)
"""Annotations that an apply removes, as Flux does: an earlier owner's book-keeping."""
LEGACY_LABELS: Final = ("fluxcd.io/sync-gc-mark",)
"""Labels that an apply removes."""


class Absorbed(NamedTuple):
    """Managers whose fields become ours at the next apply, so that what they added disappears."""

    name: str
    operations: frozenset[str]
    is_prefix: bool = True

    def matches(self, entry: ManagedField) -> bool:
        """Whether an entry of ``managedFields`` belongs to these managers."""
        if entry.operation not in self.operations:
            return False
        return entry.manager.startswith(self.name) if self.is_prefix else entry.manager == self.name


_BOTH: Final = frozenset({APPLY, UPDATE})
_UPDATES: Final = frozenset({UPDATE})
_APPLIES: Final = frozenset({APPLY})


@dataclass(frozen=True, slots=True)
class Identity:
    """How one kind of owner signs the objects it applies."""

    manager: str
    """Its field manager."""
    name_label: str
    namespace_label: str
    absorbed: tuple[Absorbed, ...]
    has_switches: bool = True
    """Whether labels and annotations of a live object may ask for another treatment of it."""
    updaters: frozenset[str] = frozenset()
    """Managers whose plain updates are the owner's too, where it does not apply on the server."""

    def labels(self, owner: meta.ObjectRef) -> dict[str, str]:
        """Return the labels that every object of an owner carries."""
        return {self.name_label: owner.name, self.namespace_label: owner.namespace}


_COMMON: Final = (Absorbed("kubectl", _BOTH), Absorbed("before-first-apply", _UPDATES))
IDENTITIES: Final[Mapping[str, Identity]] = MappingProxyType(
    {
        "Kustomization": Identity(
            meta.KUSTOMIZE_MANAGER,
            meta.OWNER_NAME,
            meta.OWNER_NAMESPACE,
            (*_COMMON, Absorbed(meta.KUSTOMIZE_MANAGER, _UPDATES)),
        ),
        "HelmRelease": Identity(
            meta.HELM_MANAGER,
            meta.HELM_OWNER_NAME,
            meta.HELM_OWNER_NAMESPACE,
            (
                Absorbed("helm", _BOTH, is_prefix=False),
                Absorbed(meta.HELM_MANAGER, _UPDATES, is_prefix=False),
            ),
            has_switches=False,
            updaters=frozenset({"helm", meta.HELM_MANAGER}),
        ),
        "FluxInstance": Identity(
            meta.INSTANCE_MANAGER,
            f"{meta.INSTANCE_GROUP}/name",
            f"{meta.INSTANCE_GROUP}/namespace",
            (
                *_COMMON,
                Absorbed(meta.KUSTOMIZE_MANAGER, _APPLIES, is_prefix=False),
                Absorbed("helm", _UPDATES, is_prefix=False),
                Absorbed("flux", _BOTH, is_prefix=False),
            ),
        ),
    }
)
"""The identity of each kind that owns objects."""


def overriding(managers: Iterable[str]) -> Mapping[str, Identity]:
    """Return the identities where Kustomizations also take over what some managers own.

    Args:
        managers: how their names begin, as Flux's ``--override-manager`` has them.
    """
    kind = "Kustomization"
    more = tuple(Absorbed(name, _BOTH) for name in managers)
    identity = replace(IDENTITIES[kind], absorbed=(*IDENTITIES[kind].absorbed, *more))
    return MappingProxyType({**IDENTITIES, kind: identity})


class Owner(NamedTuple):
    """The owner that an object's labels name."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Live:
    """What is remembered of a live object: enough to see drift, half a kilobyte at most."""

    uid: str
    resource_version: int
    ownership: bytes
    """See `digest_of`."""
    owner: Owner | None
    flags: Flag
    is_deleting: bool = False
    is_reported: bool = False
    """Whether its status says which generation it is about, so that its controller has seen it."""


_DECODER: Final = msgspec.json.Decoder(PartialObject)


def read(raw: bytes) -> PartialMeta:
    """Decode the metadata of an object as a server sent it."""
    return _DECODER.decode(raw).metadata


def look(
    metadata: PartialMeta, identity: Identity, ignored: tuple[ignore.FieldPath, ...] = ()
) -> Live:
    """Condense an object's metadata into what is remembered of it.

    Args:
        metadata: the object's.
        identity: whose ownership counts.
        ignored: fields that anybody may take, see `kube.ignore.fields_of`.
    """
    return Live(
        uid=metadata.uid,
        resource_version=version_of(metadata),
        ownership=digest_of(metadata, identity, ignored),
        owner=owner_of(metadata.labels, identity),
        flags=_live_flags(metadata, identity),
        is_deleting=metadata.deletion_timestamp is not None,
        is_reported=_is_reported(metadata),
    )


def version_of(metadata: PartialMeta) -> int:
    """Return the resourceVersion as a number; one that is opaque is older than all others."""
    version = metadata.resource_version
    return int(version) if version.isdigit() else 0


def digest_of(
    metadata: PartialMeta, identity: Identity, ignored: tuple[ignore.FieldPath, ...] = ()
) -> bytes:
    """Return the digest of an object's uid and of an owner's own entries: its apply, its updates.

    The entry of a subresource is another one. An object that the owner never wrote has a digest
    too, which no object of its own shares.
    """
    state = hashlib.blake2b(metadata.uid.encode(), digest_size=DIGEST_SIZE)
    for entry in _own(metadata, identity):
        state.update(f"\0{entry.manager}\0{entry.operation}\0{entry.api_version}\0".encode())
        state.update(f"{entry.time}\0".encode())
        state.update(_without(entry.fields_v1, ignored) if ignored else bytes(entry.fields_v1))
    return state.digest()


def _own(metadata: PartialMeta, identity: Identity) -> Iterator[ManagedField]:
    """Iterate over the entries that say what an owner wrote, in an order of their own."""
    applied = apply_entry(metadata, identity.manager)
    if applied is not None:
        yield applied
    if identity.updaters:
        found = [
            entry
            for entry in _main(metadata)
            if entry.operation == UPDATE and entry.manager in identity.updaters
        ]
        yield from sorted(found, key=lambda entry: (entry.manager, entry.api_version))


def _without(fields: msgspec.Raw, ignored: tuple[ignore.FieldPath, ...]) -> bytes:
    """Return the JSON of a set of fields without some of them."""
    kept = ignore.without_fields(orjson.loads(bytes(fields)), ignored)
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def apply_entry(metadata: PartialMeta, manager: str) -> ManagedField | None:
    """Return the entry of a manager's server-side apply of the main resource, if there is one."""
    for entry in _main(metadata):
        if entry.manager == manager and entry.operation == APPLY:
            return entry
    return None


def appliers(metadata: PartialMeta, identity: Identity) -> Iterator[ManagedField]:
    """Iterate over what other managers applied to the main resource."""
    return (
        entry
        for entry in _main(metadata)
        if entry.operation == APPLY and entry.manager != identity.manager
    )


def owner_of(labels: Mapping[str, str], identity: Identity) -> Owner | None:
    """Return the owner that labels name, or None where they name nobody; half a name is none."""
    name, namespace = labels.get(identity.name_label), labels.get(identity.namespace_label)
    return _owner(namespace, name) if name and namespace else None


@functools.lru_cache(maxsize=1024)
def _owner(namespace: str, name: str) -> Owner:
    """Return one object for equal owners, since thousands of objects name the same."""
    return Owner(namespace, name)


def is_absorbed(entry: ManagedField, identity: Identity) -> bool:
    """Whether an entry's fields become ours at the next apply; subresources never do."""
    if entry.subresource or (entry.manager, entry.operation) == (identity.manager, APPLY):
        return False
    return any(absorbed.matches(entry) for absorbed in identity.absorbed)


def last_writer(metadata: PartialMeta, manager: str) -> str:
    """Name who wrote last besides a manager; the manager itself where nobody else did.

    The time of an entry has a resolution of one second; among equals the later one in the list
    wins, which the server sorts by time.
    """
    latest, name = "", manager
    for entry in _main(metadata):
        if entry.manager != manager and entry.time >= latest:
            latest, name = entry.time, entry.manager
    return name


def written_by(metadata: PartialMeta, manager: str, most: int = 8) -> tuple[str, ...]:
    """Return the fields that a manager owns by its last write, as people write them.

    Args:
        metadata: the object's.
        manager: who wrote.
        most: how many are returned at most.
    """
    entries = [entry for entry in _main(metadata) if entry.manager == manager]
    if not entries:
        return ()
    last = max(entries, key=lambda entry: entry.time)
    found = _leaves(orjson.loads(bytes(last.fields_v1)), "")
    return tuple(itertools.islice(filter(None, found), most))


def _leaves(fields: object, path: str) -> Iterator[str]:
    """Yield the paths of a ``fieldsV1`` tree that end in something."""
    if not isinstance(fields, dict) or not fields.keys() - {"."}:
        yield path
        return
    for key, below in fields.items():
        mark, _, name = key.partition(":")
        if mark == "f":
            yield from _leaves(below, f"{path}.{name}" if path else name)
        elif mark in {"k", "v"}:
            yield from _leaves(below, f"{path}[{_member(name)}]")


def _member(name: str) -> str:
    """Write what tells a member of a list apart: ``name=web``, or the value itself."""
    value = orjson.loads(name)
    if not isinstance(value, dict):
        return str(value)
    return ",".join(f"{key}={each}" for key, each in value.items())


def _is_reported(metadata: PartialMeta) -> bool:
    return any(
        entry.subresource == _STATUS and _OBSERVED in bytes(entry.fields_v1)
        for entry in metadata.managed_fields
    )


def _main(metadata: PartialMeta) -> Iterator[ManagedField]:
    return (entry for entry in metadata.managed_fields if not entry.subresource)


def _live_flags(metadata: PartialMeta, identity: Identity) -> Flag:
    flags = Flag.NONE
    is_foreign = any(is_absorbed(entry, identity) for entry in metadata.managed_fields)
    if identity.has_switches:
        flags = flags_of(metadata.labels, metadata.annotations)
        is_foreign = (
            is_foreign
            or any(key in metadata.annotations for key in LEGACY_ANNOTATIONS)
            or any(key in metadata.labels for key in LEGACY_LABELS)
        )
    return flags | Flag.FOREIGN if is_foreign else flags
