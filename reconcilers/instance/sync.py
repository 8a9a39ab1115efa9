"""The source and the Kustomization that ``spec.sync`` stands for; pure functions.

Their fields, labels and annotations are the Flux Operator's, so that its tools show the same
picture: ``ssa: Ignore`` and ``prune: Disabled`` keep a bootstrapped Kustomization that contains the
pair from fighting over it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
import orjson

import api
from api import meta
from api.bucket import GENERIC, Bucket, BucketSpec
from api.instance import ComponentStatus
from api.kustomize import Kustomization, KustomizationSpec, SourceReference
from api.meta import CustomObject, LocalReference, Struct
from api.oci import OCIRef, OCIRepository, OCIRepositorySpec
from api.source import GitRef, GitRepository, GitRepositorySpec
from reconcilers.instance import scope
from runtime import conditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from api.instance import FluxInstance, Sync
    from kube.objects import JsonObject

OfPair: TypeAlias = GitRepository | OCIRepository | Bucket | Kustomization
"""What the pair can consist of."""
SOURCES: Final[dict[str, type[CustomObject]]] = {
    kind.KIND: kind for kind in (GitRepository, OCIRepository, Bucket)
}
"""The kinds of source that a cluster can be synchronised with."""
VERSION: Final = f"v{api.__version__}"
"""The daemon's version, in the place of Flux's in an instance's revisions."""
INTERVAL: Final = "10m0s"
"""Interval of the Kustomization, as the operator writes it."""
ACCOUNT: Final = "kustomize-controller"
"""ServiceAccount that applies the sync Kustomization where tenants are kept apart: the name, and
the binding to every right, that Flux itself installs."""
_BINDING: Final = "cluster-reconciler"
_RBAC: Final = "rbac.authorization.k8s.io"


def manifests(flux: FluxInstance) -> list[JsonObject]:
    """Return what the instance creates, in the order in which to apply it."""
    sync = flux.spec.sync
    if sync is None:
        return []
    metadata = _metadata(flux, sync.name or flux.metadata.namespace)
    account = ACCOUNT if is_multitenant(flux) else ""
    return [
        *(_account(flux) if account else ()),
        SOURCES[sync.kind].manifest(metadata, _source(sync)),
        Kustomization.manifest(metadata, _kustomization(sync, metadata["name"], account)),
    ]


def is_multitenant(flux: FluxInstance) -> bool:
    """Tell whether an instance keeps tenants apart."""
    return flux.spec.cluster is not None and flux.spec.cluster.multitenant


def is_of_pair(manifest: JsonObject) -> bool:
    """Tell whether something the instance creates is its source or its Kustomization."""
    return manifest["kind"] in {*SOURCES, Kustomization.KIND}


def _account(flux: FluxInstance) -> list[JsonObject]:
    """Return the ServiceAccount of the sync Kustomization, and what gives it every right."""
    namespace = flux.metadata.namespace
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(flux, ACCOUNT),
    }
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {**_metadata(flux, f"{_BINDING}-{namespace}"), "namespace": ""},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }
    return [account, binding]


def _source(sync: Sync) -> Struct:
    """Return the spec of the source, of whichever kind."""
    secret = LocalReference(name=sync.pull_secret) if sync.pull_secret else None
    match sync.kind:
        case OCIRepository.KIND:
            return OCIRepositorySpec(
                url=sync.url,
                interval=sync.interval,
                ref=OCIRef(tag=sync.ref),
                secret_ref=secret,
                provider=sync.provider or GENERIC,
            )
        case Bucket.KIND:
            return BucketSpec(
                endpoint=sync.url,
                bucket_name=sync.ref,
                interval=sync.interval,
                secret_ref=secret,
                provider=sync.provider or GENERIC,
            )
        case _:
            return GitRepositorySpec(
                url=sync.url,
                interval=sync.interval,
                ref=GitRef(name=sync.ref),
                secret_ref=secret,
                provider=sync.provider,
            )


def _kustomization(sync: Sync, name: str, account: str) -> KustomizationSpec:
    return KustomizationSpec(
        interval=INTERVAL,
        path=sync.path,
        prune=True,
        source_ref=SourceReference(kind=sync.kind, name=name),
        service_account_name=account,
    )


def _metadata(flux: FluxInstance, name: str) -> dict[str, Any]:
    """Return the metadata of what an instance creates; ``spec.commonMetadata`` wins."""
    common = flux.spec.common_metadata
    labels = {
        scope.IDENTITY.name_label: flux.metadata.name,
        scope.IDENTITY.namespace_label: flux.metadata.namespace,
        meta.INSTANCE_LABEL: flux.metadata.namespace,
        meta.MANAGED_BY: meta.INSTANCE_MANAGER,
        meta.PART_OF: "flux",
        meta.VERSION_LABEL: meta.FLUX_VERSION,
    }
    annotations = {meta.SSA: "Ignore", meta.PRUNE: "Disabled"}
    return {
        "name": name,
        "namespace": flux.metadata.namespace,
        "labels": labels | (common.labels if common else {}),
        "annotations": annotations | (common.annotations if common else {}),
    }


def component_status(flux: FluxInstance) -> tuple[ComponentStatus, ...]:
    """Return ``status.components``: the daemon does the work of each."""
    return tuple(
        ComponentStatus(name=name, repository=meta.DAEMON_MANAGER, tag=VERSION)
        for name in sorted(scope.components(flux))
    )


def revision(flux: FluxInstance, wanted: Iterable[JsonObject]) -> str:
    """Return ``<version>@sha256:<hex>`` over the components and the manifests."""
    content = [sorted(scope.components(flux)), list(wanted)]
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{VERSION}@sha256:{digest}"


def is_current(live: OfPair | None, wanted: JsonObject) -> bool:
    """Tell whether the live object has every field that the manifest declares.

    Fields that the manifest does not declare are left alone until the next apply: that is how
    ``flux suspend`` of the sync Kustomization holds.
    """
    if live is None or live.metadata.deletion_timestamp:
        return False
    metadata = wanted["metadata"]
    return (
        _contains(live.metadata.labels, metadata["labels"])
        and _contains(live.metadata.annotations, metadata["annotations"])
        and _contains(msgspec.to_builtins(live.spec), wanted["spec"])
    )


def _contains(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    for key, value in wanted.items():
        found = live.get(key)
        if isinstance(value, dict) and isinstance(found, dict):
            if not _contains(found, value):
                return False
        elif found != value:
            return False
    return True


def waits_for(live: OfPair | None, name: str) -> str:
    """Return why an object of the pair is not ready, empty where it is.

    Args:
        live: the object; None where it is not there.
        name: what to call it, ``Kind/namespace/name``.
    """
    ready = conditions.get(live.status.conditions, meta.READY) if live else None
    if live is None or ready is None:
        return f"{name} has not been reconciled yet"
    is_ready = ready.status == "True" and ready.observed_generation == live.metadata.generation
    return "" if is_ready else f"{name} is not ready: {ready.message}"
