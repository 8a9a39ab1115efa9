"""What the flux CLI reads of a cluster without Flux's controllers: their Deployments."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from daemon import markers
from kube import health
from runtime.clock import SystemClock
from tests.support import api, reconciling

if TYPE_CHECKING:
    from devcluster.cluster import Cluster

NAMESPACE = "flux-system"
SELECTOR = "app.kubernetes.io/part-of=flux"


def deployments(cluster: Cluster) -> list[dict[str, Any]]:
    """What ``flux check`` and ``flux version`` list."""
    found = cluster.kubectl("get", "deployments", "-n", NAMESPACE, "-l", SELECTOR, "-o", "json")
    items: list[dict[str, Any]] = json.loads(found)["items"]
    return items


def is_current(obj: dict[str, Any]) -> bool:
    return health.assess(obj, SystemClock().now()).status is health.State.CURRENT


async def test_markers_are_ready_named_and_removed_again(cluster: Cluster) -> None:
    foreign = markers.manifest("source-controller")
    del foreign["metadata"]["labels"][markers.LABEL]
    body = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    await asyncio.to_thread(cluster.kubectl, "apply", "-f", "-", input=body)
    text = json.dumps(foreign)
    await asyncio.to_thread(cluster.kubectl, "apply", "-f", "-", input=text)
    before = (await asyncio.to_thread(deployments, cluster))[0]["metadata"]["uid"]
    async with api.client(cluster.kubeconfig) as client:
        await markers.keep(client, are_wanted=True)
        await markers.keep(client, are_wanted=True)

        async with asyncio.timeout(api.WAIT_S):
            while True:
                found = await asyncio.to_thread(deployments, cluster)
                if all(is_current(each) for each in found):
                    break
        images = {
            each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]["image"]
            for each in found
        }
        assert {"source-controller", "kustomize-controller", "notification-controller"} <= set(
            images
        )
        assert all(":v" in image for image in images.values())

        await markers.keep(client, are_wanted=False)
        (left,) = await asyncio.to_thread(deployments, cluster)
        assert left["metadata"]["uid"] == before
    await asyncio.to_thread(
        cluster.kubectl, "delete", "deployment", "-n", NAMESPACE, "source-controller"
    )


def test_definitions_carry_what_flux_check_looks_for(cluster: Cluster) -> None:
    reconciling.prepare(cluster)
    found = json.loads(cluster.kubectl("get", "crds", "-l", SELECTOR, "-o", "json"))["items"]

    by_name = {each["metadata"]["name"]: each for each in found}
    repositories = by_name["gitrepositories.source.toolkit.fluxcd.io"]
    assert repositories["metadata"]["labels"]["app.kubernetes.io/version"].startswith("v2.")
    assert all(each["status"]["storedVersions"] for each in found)
