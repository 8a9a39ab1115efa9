"""Flux objects as an API server would send them, for what reads them without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspection.flux import FluxObject

if TYPE_CHECKING:
    from kube.objects import JsonObject

_GROUPS = {
    "Kustomization": "kustomize.toolkit.fluxcd.io/v1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
    "Receiver": "notification.toolkit.fluxcd.io/v1",
    "FluxInstance": "fluxcd.controlplane.io/v1",
}
SHA = "7e0b4c5a9d1f2e3b4c5d6e7f8091a2b3c4d5e6f7"
REVISION = f"main@sha1:{SHA}"


def flux(
    kind: str,
    name: str,
    spec: JsonObject | None = None,
    *,
    namespace: str = "flux-system",
    ready: str | None = "True",
    reason: str = "ReconciliationSucceeded",
    message: str = "Applied revision",
    owner: str = "",
    cluster: str = "home",
    **status: Any,
) -> FluxObject:
    """Return an object of a Flux kind.

    Args:
        kind: its kind.
        name: its name.
        spec: its spec.
        namespace: its namespace.
        ready: the status of its Ready condition; None for one that has none.
        reason: of that condition.
        message: of that condition.
        owner: the Kustomization in ``flux-system`` that applied it.
        cluster: where it is.
        status: further fields of its status.
    """
    labels = {
        "kustomize.toolkit.fluxcd.io/name": owner,
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    }
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-02T12:00:00Z",
        "observedGeneration": 1,
    }
    raw = {
        "apiVersion": _GROUPS.get(kind, "source.toolkit.fluxcd.io/v1"),
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "generation": 1,
            "labels": labels if owner else {},
        },
        "spec": spec or {},
        "status": status | ({"conditions": [condition]} if ready else {}),
    }
    return FluxObject(cluster, raw)


def git(name: str = "fleet", **more: Any) -> FluxObject:
    """Return a GitRepository with an artifact."""
    spec = {"url": "https://example.com/fleet.git", "interval": "1m"}
    return flux("GitRepository", name, spec, artifact={"revision": REVISION}, **more)


def kustomization(
    name: str,
    *entries: str,
    source: str = "fleet",
    spec: JsonObject | None = None,
    **more: Any,
) -> FluxObject:
    """Return a Kustomization that owns what its inventory's entries name."""
    own = {"sourceRef": {"kind": "GitRepository", "name": source}, "path": f"./{name}"}
    inventory = {"entries": [{"id": entry, "v": "v1"} for entry in entries]}
    more.setdefault("lastAppliedRevision", REVISION)
    return flux("Kustomization", name, own | (spec or {}), inventory=inventory, **more)
