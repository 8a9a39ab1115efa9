"""What `gitopsd check` asks a cluster: does it answer, what does it serve, what may we do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import orjson

from api import meta
from cli import access
from daemon import instance_manifest, kinds
from kube import errors, lease
from kube.connection import AuthError
from kube.crds import RESOURCE as DEFINITIONS
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from daemon.settings import Cluster
    from kube.client import Client

Finding = tuple[bool, str]

_REVIEWS = Resource(
    GVK("authorization.k8s.io", "v1", "SelfSubjectAccessReview"),
    "selfsubjectaccessreviews",
    is_namespaced=False,
)


class _Version(meta.Struct, frozen=True, kw_only=True):
    git_version: str = ""


class _Right(NamedTuple):
    """Something the daemon has to be allowed to do."""

    verb: str
    resource: Resource
    subresource: str = ""
    namespace: str = ""


async def findings(cluster: Cluster) -> list[Finding]:
    """Return what is found about one cluster."""
    try:
        async with access.client(cluster) as client:
            version = msgspec.json.decode(await client.get_raw("/version"), type=_Version)
            found = [(True, f"{client.server} answers, Kubernetes {version.git_version}")]
            found += [await _definition(client, cluster, kind) for kind in kinds.ALL]
            found.append(await _rights(client, cluster))
            return found
    except errors.Unreachable as err:
        return [(False, f"{err}; does it run, and is its address in the kubeconfig right?")]
    except errors.Unauthorized as err:
        return [(False, f"{err}; renew the credentials in the kubeconfig")]
    except AuthError as err:
        return [(False, f"{err}; correct kubeconfig or context of this [[clusters]]")]
    except errors.ApiError as err:
        return [(False, str(err))]


async def _definition(client: Client, cluster: Cluster, kind: kinds.Kind) -> Finding:
    """Tell whether a kind is served in our version."""
    name = f"{kind.resource.plural}.{kind.gvk.group}"
    try:
        found = await client.get(DEFINITIONS, "", name)
    except errors.NotFound:
        if cluster.install_crds:
            return True, f"CRD {name}: the daemon installs it when it starts"
        return False, (
            f"CRD {name}: is not there, and install_crds is off; switch it on, or apply Flux's "
            "definitions"
        )
    except errors.Forbidden as err:
        return False, f"CRD {name}: {err}"
    served = {each["name"] for each in found["spec"]["versions"] if each["served"]}
    line = f"CRD {name}: serves {', '.join(sorted(served))}"
    if kind.gvk.version in served:
        return True, line
    return False, f"{line} and not {kind.gvk.version}; apply the definition of a newer Flux"


async def _rights(client: Client, cluster: Cluster) -> Finding:
    """Tell what the credentials may not do."""
    missing = [
        f"{right.verb} {'/'.join(filter(None, (right.resource.plural, right.subresource)))}"
        for right in _needed(cluster)
        if not await _may(client, right)
    ]
    if missing:
        return False, (
            f"permissions: may not {', '.join(missing)}; bind the user to a ClusterRole with these "
            "rights, or to cluster-admin"
        )
    return True, "permissions: all that the daemon itself needs"


def _needed(cluster: Cluster) -> list[_Right]:
    """List the rights that the daemon itself needs; what it applies needs its own."""
    where = cluster.namespace
    rights = [
        _Right(verb, kind.resource, subresource, where)
        for kind in kinds.ALL
        for verb, subresource in (("list", ""), ("watch", ""), ("patch", ""), ("patch", "status"))
    ]
    rights += [
        _Right(verb, lease.RESOURCE, "", where or instance_manifest.NAMESPACE)
        for verb in ("get", "create", "update")
    ]
    if cluster.install_crds:
        rights += [_Right(verb, DEFINITIONS) for verb in ("get", "create", "update")]
    return rights


async def _may(client: Client, right: _Right) -> bool:
    """Ask the API server whether we may do something."""
    attributes = {
        "verb": right.verb,
        "group": right.resource.gvk.group,
        "resource": right.resource.plural,
        "subresource": right.subresource,
        "namespace": right.namespace,
    }
    review = {
        "apiVersion": _REVIEWS.gvk.api_version,
        "kind": _REVIEWS.gvk.kind,
        "spec": {"resourceAttributes": attributes},
    }
    answer = await client.create(_REVIEWS, "", orjson.dumps(review), manager=meta.DAEMON_MANAGER)
    return bool(orjson.loads(answer)["status"].get("allowed"))
