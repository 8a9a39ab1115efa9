"""Which fields this version of the daemon does not serve yet.

The CRDs carry every field of Flux, so that no object is refused and nothing is pruned from it. A
field that is set and not served makes the object Stalled with a message that names it; it is never
skipped in silence. Fields that have no meaning outside the cluster (images, volumes, network
policies) are records and count as served.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from api.bucket import AWS, AZURE, GCP, GENERIC, Bucket
from api.charts import HelmChart, HelmRepository
from api.external import ExternalArtifact
from api.helm import HelmRelease
from api.instance import Cluster, FluxInstance, Sync
from api.kustomize import Kustomization, Patch
from api.notification import Receiver
from api.oci import OCIRepository
from api.source import GitRepository

if TYPE_CHECKING:
    from collections.abc import Iterator

AnyKind: TypeAlias = (
    GitRepository
    | OCIRepository
    | Bucket
    | HelmRepository
    | HelmChart
    | ExternalArtifact
    | Kustomization
    | HelmRelease
    | Receiver
    | FluxInstance
)

RECEIVER_TYPES: Final = frozenset({"github", "generic", "generic-hmac"})
COMPONENTS: Final = frozenset(
    {"source-controller", "kustomize-controller", "helm-controller", "notification-controller"}
)
CLOUDS: Final = frozenset({AWS, AZURE})
"""Providers of Git whose repositories a cloud's identity opens."""
GIT_PROVIDERS: Final = frozenset({"", GENERIC, "github"})
STORE_PROVIDERS: Final = frozenset({"", GENERIC, AWS, GCP, AZURE})
"""Providers of registries and buckets."""
_SYNC_KINDS: Final = ("GitRepository", "OCIRepository", "Bucket", "Kustomization")


def unserved(obj: AnyKind) -> tuple[str, ...]:
    """Return the paths of the fields that are set and not served yet.

    Where it is the value that is not served, the path is followed by ``=`` and the value:
    ``spec.type=gitlab``.
    """
    match obj:
        case Receiver():
            found = _receiver(obj)
        case FluxInstance():
            found = _instance(obj)
        case (
            GitRepository()
            | OCIRepository()
            | Bucket()
            | HelmRepository()
            | HelmChart()
            | ExternalArtifact()
            | Kustomization()
            | HelmRelease()
        ):
            found = iter(())
        case _:
            assert_never(obj)
    return tuple(f"spec.{path}" for path in found)


def opens_tenants(obj: FluxInstance) -> bool:
    """Tell whether an instance keeps tenants apart in a way that is not served yet."""
    return obj.spec.cluster is not None and any(_cluster(obj.spec.cluster))


def message(paths: tuple[str, ...]) -> str:
    """Return the message of the Stalled condition for a non-empty result of `unserved`."""
    fields = "field is" if len(paths) == 1 else "fields are"
    return f"the {fields} not served by this version of gitopsd: {', '.join(paths)}"


def _receiver(obj: Receiver) -> Iterator[str]:
    spec = obj.spec
    if spec.type not in RECEIVER_TYPES:
        yield f"type={spec.type}"
    yield from _set(("oidcProviders", spec.oidc_providers))


def _instance(obj: FluxInstance) -> Iterator[str]:
    spec = obj.spec
    for index, component in enumerate(spec.components):
        if component not in COMPONENTS:
            yield f"components[{index}]={component}"
    if spec.sync:
        yield from _sync(spec.sync)
    if spec.cluster:
        yield from _cluster(spec.cluster)
    yield from _set(("sharding", spec.sharding))
    for index, patch in enumerate(spec.kustomize.patches if spec.kustomize else ()):
        if _reaches_sync(patch):
            yield f"kustomize.patches[{index}]"


def _sync(sync: Sync) -> Iterator[str]:
    is_git = sync.kind == GitRepository.KIND
    served = GIT_PROVIDERS | CLOUDS if is_git else STORE_PROVIDERS
    if sync.provider not in served:
        yield f"sync.provider={sync.provider}"


def _cluster(cluster: Cluster) -> Iterator[str]:
    """Name the switches that keep tenants apart: to ignore one would open what it closes."""
    decryption = cluster.tenant_default_decryption_service_account
    kube_config = cluster.tenant_default_kube_config_service_account
    yield from _set(
        ("cluster.multitenantWorkloadIdentity", cluster.multitenant_workload_identity),
        ("cluster.tenantDefaultDecryptionServiceAccount", decryption),
        ("cluster.tenantDefaultKubeConfigServiceAccount", kube_config),
    )


def _reaches_sync(patch: Patch) -> bool:
    """Tell whether a patch may change the sync pair, and not only controllers that do not exist."""
    kind = patch.target.kind if patch.target else ""
    if not kind:
        return True
    try:
        return any(re.fullmatch(kind, each) for each in _SYNC_KINDS)
    except re.error:
        return True


def _set(*fields: tuple[str, object]) -> Iterator[str]:
    """Yield the paths whose value is set."""
    return (path for path, value in fields if value)
