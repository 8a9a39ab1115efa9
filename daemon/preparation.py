"""Makes a cluster ready to be served: CRDs, namespace, and the FluxInstance of the settings."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from api import crds as api_crds
from api import meta
from daemon import instance_manifest, kinds, markers
from kube import crds, errors, manifests
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from daemon import settings
    from kube.client import Client
    from kube.objects import JsonObject
    from runtime.limits import Threads

logger = logging.getLogger(__name__)

_NAMESPACES = Resource(GVK("", "v1", "Namespace"), "namespaces", is_namespaced=False)


async def prepare(client: Client, cluster: settings.Cluster, threads: Threads) -> None:
    """Install what the daemon needs in a cluster, as far as the settings allow.

    Raises:
        errors.ApiError: the API server refused something that cannot be done without.
    """
    if cluster.install_crds:
        for outcome in await crds.install(client, await threads.run(_definitions)):
            _tell(outcome)
    if not cluster.namespace:
        await _ensure_namespace(client)
        await markers.keep(client, are_wanted=cluster.flux_cli_markers)
    instance = instance_manifest.build(cluster)
    if instance is not None:
        await client.apply(
            kinds.INSTANCE.resource,
            orjson.dumps(instance),
            instance_manifest.NAMESPACE,
            instance_manifest.NAME,
            manager=meta.DAEMON_MANAGER,
        )


async def _ensure_namespace(client: Client) -> None:
    """Create the namespace of the Leases and of the FluxInstance, unless it is there."""
    name = instance_manifest.NAMESPACE
    try:
        await client.get(_NAMESPACES, "", name)
    except errors.NotFound:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        with suppress(errors.AlreadyExists):
            await client.create(
                _NAMESPACES, "", orjson.dumps(manifest), manager=meta.DAEMON_MANAGER
            )
    except errors.Forbidden:
        logger.info("namespace cannot be looked at", extra={"namespace": name})


def _definitions() -> list[JsonObject]:
    """Read the definitions that ship with us: a tenth of a second, so not in the loop."""
    return [manifests.load(each) for each in api_crds.load()]


def _tell(outcome: crds.Outcome) -> None:
    """Log what a definition that was left to its owner lacks."""
    if outcome.lacks:
        logger.warning(
            "definition lacks fields and belongs to somebody else",
            extra={
                "definition": outcome.name,
                "owner": outcome.owner,
                "lacks": list(outcome.lacks),
            },
        )
