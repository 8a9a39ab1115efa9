"""Deployments without pods that stand for Flux's controllers, for tools that look for those.

``flux check``, ``flux version`` and some web pages take the controllers' Deployments for the sign
that Flux is installed. Where a cluster's settings ask for them, each component has one with zero
replicas, which Kubernetes calls available. A Deployment that somebody else made is never touched.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import orjson

import api
from api import meta
from daemon import instance_manifest, kinds
from kube import errors
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from daemon.kinds import Component
    from kube.client import Client
    from kube.objects import JsonObject

logger = logging.getLogger(__name__)

LABEL: Final = "gitopsd.dev/marker"
DEPLOYMENTS: Final = Resource(GVK("apps", "v1", "Deployment"), "deployments", is_namespaced=True)
_CONTAINER: Final = "manager"
_IMAGES: Final = "gitopsd.dev"


async def keep(client: Client, *, are_wanted: bool) -> None:
    """Create the markers, or remove those that an earlier setting made.

    Args:
        client: the cluster.
        are_wanted: whether the settings ask for them.

    Raises:
        errors.ApiError: the API server refused to have them, although they are wanted.
    """
    if are_wanted:
        for component in kinds.COMPONENTS:
            if component.is_switchable:
                await _create(client, component)
        return
    try:
        present = await _ours(client)
    except errors.Forbidden:
        return
    for name in present:
        await client.delete(DEPLOYMENTS, instance_manifest.NAMESPACE, name)


async def _create(client: Client, component: Component) -> None:
    """Apply one marker, unless there is a Deployment of somebody else."""
    namespace = instance_manifest.NAMESPACE
    try:
        found = await client.metadata(DEPLOYMENTS, namespace, component.name)
    except errors.NotFound:
        pass
    else:
        if LABEL not in found.labels:
            logger.info("deployment is left alone", extra={"deployment": component.name})
            return
    body = orjson.dumps(manifest(component.name))
    await client.apply(DEPLOYMENTS, body, namespace, component.name, manager=meta.DAEMON_MANAGER)


async def _ours(client: Client) -> list[str]:
    pages = client.list_pages(
        DEPLOYMENTS,
        namespace=instance_manifest.NAMESPACE,
        label_selector=LABEL,
        metadata_only=True,
    )
    return [
        item["metadata"]["name"]
        async for page in pages
        for item in orjson.loads(page)["items"] or ()  # null where there are none
    ]


def manifest(component: str) -> JsonObject:
    """Return the marker of a component."""
    labels = {
        meta.PART_OF: "flux",
        meta.COMPONENT_LABEL: component,
        meta.INSTANCE_LABEL: instance_manifest.NAMESPACE,
        meta.VERSION_LABEL: meta.FLUX_VERSION,
        "control-plane": "controller",
        LABEL: "true",
    }
    container = {"name": _CONTAINER, "image": f"{_IMAGES}/{component}:v{api.__version__}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": component,
            "namespace": instance_manifest.NAMESPACE,
            "labels": labels,
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": component, LABEL: "true"}},
            "template": {
                "metadata": {"labels": {"app": component, LABEL: "true"}},
                "spec": {"containers": [container]},
            },
        },
    }
