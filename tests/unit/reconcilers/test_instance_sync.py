"""What a sync of each kind of source stands for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api import schema
from api.instance import FluxInstance
from reconcilers.instance import sync


def flux(**given: str) -> FluxInstance:
    spec = {
        "distribution": {"version": "2.x", "registry": "ghcr.io/fluxcd"},
        "sync": {"path": "./", "interval": "5m", **given},
    }
    metadata = {"name": "flux", "namespace": "flux-system"}
    return msgspec.convert({"metadata": metadata, "spec": spec}, FluxInstance)


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        (
            {"kind": "GitRepository", "url": "https://host/fleet", "ref": "refs/heads/main"},
            {"url": "https://host/fleet", "ref": {"name": "refs/heads/main"}},
        ),
        (
            {"kind": "OCIRepository", "url": "oci://host/fleet", "ref": "latest"},
            {"url": "oci://host/fleet", "ref": {"tag": "latest"}},
        ),
        (
            {"kind": "OCIRepository", "url": "oci://h/f", "ref": "v1", "provider": "aws"},
            {"url": "oci://h/f", "ref": {"tag": "v1"}, "provider": "aws"},
        ),
        (
            {"kind": "Bucket", "url": "store.example", "ref": "fleet", "pullSecret": "keys"},
            {"endpoint": "store.example", "bucketName": "fleet", "secretRef": {"name": "keys"}},
        ),
    ],
)
def test_source_is_the_one_that_the_operator_would_make(
    given: dict[str, str], spec: dict[str, Any]
) -> None:
    source, kustomization = sync.manifests(flux(**given))
    assert source["kind"] == given["kind"]
    assert source["metadata"]["name"] == "flux-system"
    assert source["spec"] == spec | {"interval": "5m"}
    assert kustomization["spec"]["sourceRef"] == {"kind": given["kind"], "name": "flux-system"}
    assert sync.is_of_pair(source)
    (type_,) = [each for each in schema.KINDS if given["kind"] == each.KIND]
    live = msgspec.convert(source, type_)
    assert sync.is_current(live, source)  # type: ignore[arg-type]  # one of the pair's kinds
