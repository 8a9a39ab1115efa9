"""What the books of drift are fed with: metadata of objects, and time that is moved by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from api import meta
from api.meta import ObjectRef
from kube import ownership

if TYPE_CHECKING:
    import datetime as dt

    from kube.objects import PartialMeta

APPS = ObjectRef("test", "Kustomization", "flux-system", "apps")


class HandClock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> dt.datetime:
        raise NotImplementedError


def metadata(
    version: int,
    *,
    uid: str = "u",
    fields: str = "k",
    owner: ObjectRef | None = APPS,
    by: str = "",
    **more: object,
) -> PartialMeta:
    """An object's metadata, with the fields we own and who else wrote."""
    entries = [
        {
            "manager": meta.KUSTOMIZE_MANAGER,
            "operation": "Apply",
            "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {f"f:{fields}": {}},
        }
    ]
    if by:
        entries.append({"manager": by, "operation": "Update", "time": "2026-01-02T00:00:00Z"})
    labels = {meta.OWNER_NAME: owner.name, meta.OWNER_NAMESPACE: owner.namespace} if owner else {}
    wire = {"uid": uid, "resourceVersion": str(version), "labels": labels} | more
    return ownership.read(orjson.dumps({"metadata": wire | {"managedFields": entries}}))
