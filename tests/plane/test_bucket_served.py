"""Buckets and what applies them, served by the daemon's own engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon import settings
from sources.bucket import listing
from tests.support import reconciling, served
from tests.support.kustomizer import config_map

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.cluster import Cluster
    from tests.support import s3

MANIFESTS = """\
apiVersion: v1
kind: Secret
metadata: {{name: keys, namespace: {namespace}}}
stringData: {{accesskey: "{keys.access_key}", secretkey: "{keys.secret_key}"}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: Bucket
metadata: {{name: fleet, namespace: {namespace}}}
spec:
  interval: 1s
  bucketName: {box.name}
  endpoint: {box.server.endpoint}
  insecure: true
  secretRef: {{name: keys}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: apps, namespace: {namespace}}}
spec:
  interval: 1h
  prune: true
  path: ./apps
  sourceRef: {{kind: Bucket, name: fleet}}
"""


async def test_change_in_a_bucket_reaches_the_cluster(
    cluster: Cluster, namespace: str, s3_server: s3.Server, tmp_path: Path
) -> None:
    box = s3_server.bucket()
    box.put("apps/a.yaml", config_map("a", namespace))
    text = MANIFESTS.format(namespace=namespace, box=box, keys=s3_server.keys)
    await asyncio.to_thread(reconciling.prepare, cluster)
    await asyncio.to_thread(cluster.kubectl, "apply", "-f", "-", input=text)
    home = settings.Cluster(name="home", kubeconfig=cluster.kubeconfig, namespace=namespace)

    async def shown() -> list[str]:
        names = "jsonpath={.items[*].metadata.name}"
        said = await asyncio.to_thread(
            cluster.kubectl, "get", "configmap", "-n", namespace, "-o", names
        )
        return [name for name in said.split() if name in "ab"]

    async with served.fleet(tmp_path, home) as fleet:

        def is_applied(revision: str) -> bool:
            rows = [each for each in fleet.state().rows if each.kind == "Kustomization"]
            return [(each.ready, each.revision) for each in rows] == [("True", revision)]

        first = revision(box, "apps/a.yaml")
        await served.until(lambda: is_applied(first))
        assert await shown() == ["a"]
        box.put("apps/b.yaml", config_map("b", namespace))
        box.delete("apps/a.yaml")
        second = revision(box, "apps/b.yaml")
        await served.until(lambda: is_applied(second))
        assert await shown() == ["b"]


def revision(box: s3.BucketBox, *keys: str) -> str:
    """Return the revision of some objects as they are in the bucket."""
    heads = {key: box.server.s3.head_object(Bucket=box.name, Key=key) for key in keys}
    return listing.revision({key: head["ETag"].strip('"') for key, head in heads.items()})
