"""What Kubernetes things are called: kinds, resources, object ids, metadata, JSON objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

import msgspec

from api import meta

JsonObject: TypeAlias = dict[str, Any]
"""A Kubernetes object as decoded JSON; the one bare dict that crosses package borders."""

_RBAC_KINDS = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})


class GVK(NamedTuple):
    """Group, version and kind."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``, as in a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @classmethod
    def of(cls, obj: JsonObject) -> GVK:
        """Read the kind of a manifest.

        Raises:
            KeyError: ``apiVersion`` or ``kind`` is missing.
        """
        group, _, version = str(obj["apiVersion"]).rpartition("/")
        return cls(group, version, str(obj["kind"]))


@dataclass(slots=True, frozen=True)
class Resource:
    """A kind as one API server serves it."""

    gvk: GVK
    plural: str
    is_namespaced: bool
    verbs: frozenset[str] = frozenset()

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, of one object, or of its subresource."""
        group, version, _ = self.gvk
        parts = [f"/apis/{group}/{version}" if group else f"/api/{version}"]
        if self.is_namespaced and namespace:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=":"))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


class ObjectId(NamedTuple):
    """What an inventory calls an object: version-independent identity inside one cluster."""

    namespace: str
    name: str
    group: str
    kind: str

    def __str__(self) -> str:
        """Return ``Kind/namespace/name``, the form used in messages and change lists."""
        return (
            f"{self.kind}/{self.namespace}/{self.name}"
            if self.namespace
            else f"{self.kind}/{self.name}"
        )

    @property
    def entry(self) -> str:
        """The ``id`` of an inventory entry: ``<namespace>_<name>_<group>_<Kind>``."""
        name = self.name.replace(":", "__") if self.kind in _RBAC_KINDS else self.name
        return f"{self.namespace}_{name}_{self.group}_{self.kind}"

    @classmethod
    def parse(cls, entry: str) -> ObjectId:
        """Read an inventory entry's ``id``.

        Raises:
            ValueError: fewer than three underscores.
        """
        namespace, first, rest = entry.partition("_")
        head, last, kind = rest.rpartition("_")
        name, middle, group = head.rpartition("_")
        if not (first and last and middle):
            msg = f"unable to parse inventory id {entry!r}"
            raise ValueError(msg)
        return cls(namespace, name.replace("__", ":"), group, kind)

    @classmethod
    def of(cls, obj: JsonObject) -> ObjectId:
        """Read the id of a manifest that has apiVersion, kind and a name."""
        gvk, meta = GVK.of(obj), obj["metadata"]
        return cls(meta.get("namespace") or "", meta["name"], gvk.group, gvk.kind)


class ManagedField(meta.Struct, frozen=True):
    """One entry of ``metadata.managedFields``: which manager owns which fields."""

    manager: str = ""
    operation: str = ""
    """``Apply`` or ``Update``."""
    api_version: str = ""
    time: str = ""
    fields_type: str = ""
    fields_v1: msgspec.Raw = msgspec.Raw(b"{}")
    """The set of fields, undecoded. Keeps the whole response alive: digest it or ``copy()`` it."""
    subresource: str = ""


class PartialMeta(meta.ObjectMeta, frozen=True):
    """The metadata of any object, with its managers; what a metadata watch carries."""

    managed_fields: tuple[ManagedField, ...] = ()


class PartialObject(meta.Struct, frozen=True):
    """An object of which only the metadata was asked for (or is decoded)."""

    api_version: str = ""
    kind: str = ""
    metadata: PartialMeta = PartialMeta()
