"""``[clusters.sync]`` as the FluxInstance it stands for: TOML and kubectl are one code path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from daemon import settings

if TYPE_CHECKING:
    from kube.objects import JsonObject

NAME = "flux"
"""The only name the API accepts for a FluxInstance."""
NAMESPACE = "flux-system"
"""Where Flux's own objects live: the instance, the Leases, and what the sync creates."""
_DEFAULT_COMPONENTS: tuple[settings.Component, ...] = (
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
)


def build(cluster: settings.Cluster) -> JsonObject | None:
    """Return the FluxInstance that a cluster's settings describe.

    Returns:
        The manifest, or None where the settings say nothing that an instance would hold: the
        cluster's own instance, if any, is then left alone.
    """
    if not (cluster.sync or cluster.components is not None or cluster.distribution):
        return None
    distribution = cluster.distribution or settings.Distribution()
    components = _DEFAULT_COMPONENTS if cluster.components is None else cluster.components
    spec: JsonObject = {
        "distribution": {"version": distribution.version, "registry": distribution.registry},
        "components": list(components),
    }
    if cluster.sync:
        spec["sync"] = _sync(cluster.sync)
    return {
        "apiVersion": f"{meta.INSTANCE_GROUP}/v1",
        "kind": "FluxInstance",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": spec,
    }


def _sync(sync: settings.Sync) -> JsonObject:
    """Return ``spec.sync``."""
    spec = {
        "kind": sync.kind,
        "url": sync.url,
        "ref": sync.ref,
        "path": sync.path,
        "interval": sync.interval,
    }
    named = {"pullSecret": sync.pull_secret, "provider": sync.provider}
    return spec | {key: value for key, value in named.items() if value}
