"""The names of a release: which one, released where, recorded where."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from api.helm import HelmRelease

MAX_LENGTH: Final = 53
"""Characters that Helm takes in the name of a release."""


def release_name(item: HelmRelease) -> str:
    """Return the name of the release: ``releaseName``, else made of namespace and name."""
    spec = item.spec
    if spec.release_name:
        return shorten(spec.release_name)
    prefix = f"{spec.target_namespace}-" if spec.target_namespace else ""
    return shorten(prefix + item.metadata.name)


def release_namespace(item: HelmRelease) -> str:
    """Return the namespace that is released to."""
    return item.spec.target_namespace or item.metadata.namespace


def storage_namespace(item: HelmRelease) -> str:
    """Return the namespace of the records; never the target namespace."""
    return item.spec.storage_namespace or item.metadata.namespace


def chart_name(item: HelmRelease) -> str:
    """Return the name of the HelmChart that is made for a HelmRelease."""
    return f"{item.metadata.namespace}-{item.metadata.name}"


def chart_namespace(item: HelmRelease) -> str:
    """Return the namespace of that HelmChart: its source's."""
    chart = item.spec.chart
    given = chart.spec.source_ref.namespace if chart else ""
    return given or item.metadata.namespace


def shorten(name: str) -> str:
    """Return a name that Helm takes, made unique by a digest where it has to be cut."""
    if len(name) <= MAX_LENGTH:
        return name
    return f"{name[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
