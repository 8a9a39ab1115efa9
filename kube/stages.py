"""The order in which objects are applied and, reversed, deleted: Flux's stages and Flux's sort.

A stage is applied as a whole before the next one starts, because its objects make the others
possible: definitions, namespaces and roles first, classes second, kinds the operator names third.
Matching is on the kind's name alone, whatever its group, as Flux does, save for the first stage.
Everything here is pure.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kube.objects import ObjectId

CRD_GROUP = "apiextensions.k8s.io"
CRD_KIND = "CustomResourceDefinition"

_FIRST = (
    CRD_KIND,
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
)
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_MIDDLE = len(_FIRST)
_RANKS: Mapping[str, int] = MappingProxyType(
    {kind: rank for rank, kind in enumerate(_FIRST)}
    | {kind: _MIDDLE + 1 + rank for rank, kind in enumerate(_LAST)}
)


class Stage(enum.IntEnum):
    """One step of an apply; the values are the order."""

    DEFINITIONS = 1
    """Definitions, namespaces and cluster roles; waited for until they are Current."""
    CLASSES = 2
    """Kinds whose name ends in ``Class``; waited for likewise."""
    CUSTOM = 3
    """Kinds that the settings name; not waited for."""
    OBJECTS = 4
    """Everything else."""

    @property
    def is_awaited(self) -> bool:
        """Whether the next stage starts only when the objects of this one are Current."""
        return self in {Stage.DEFINITIONS, Stage.CLASSES}


class SortKey(NamedTuple):
    """Where an object stands among the others of its stage; compares as Flux sorts."""

    rank: int
    group: str
    kind: str
    namespace: str
    name: str


def stage_of(obj: ObjectId, custom: frozenset[str] = frozenset()) -> Stage:
    """Return the stage an object is applied in.

    Args:
        obj: the object.
        custom: kinds of the custom stage, as ``group/Kind`` or, for the core group, ``Kind``.
    """
    if (
        (obj.kind == CRD_KIND and obj.group == CRD_GROUP)
        or (obj.kind == "Namespace" and not obj.group)
        or obj.kind == "ClusterRole"
    ):
        return Stage.DEFINITIONS
    if obj.kind.endswith("Class"):
        return Stage.CLASSES
    if (f"{obj.group}/{obj.kind}" if obj.group else obj.kind) in custom:
        return Stage.CUSTOM
    return Stage.OBJECTS


def sort_key(obj: ObjectId) -> SortKey:
    """Return the key that sorts objects as Flux does: known kinds, all others, webhooks."""
    rank = _RANKS.get(obj.kind, _MIDDLE)
    if rank != _MIDDLE:
        return SortKey(rank, "", obj.kind, obj.namespace, obj.name)
    return SortKey(rank, obj.group, obj.kind, obj.namespace, obj.name)


def deletion_waves(ids: Iterable[ObjectId]) -> list[list[ObjectId]]:
    """Group objects for deletion: reverse order of applying, equal rank together.

    The members of one wave do not depend on each other's order, so that they may be deleted at
    the same time.
    """
    waves: dict[tuple[int, str, str], list[ObjectId]] = {}
    for obj in sorted(ids, key=sort_key, reverse=True):
        waves.setdefault(sort_key(obj)[:3], []).append(obj)
    return list(waves.values())
