"""HelmReleases, snapshots and records for the tests of what decides about them."""

from __future__ import annotations

from typing import Any

import msgspec

from api.helm import HelmRelease, HelmReleaseStatus, HookStatus, Snapshot
from reconcilers.helmrelease.state import Stored, Wanted

GOOD = {"ok": HookStatus(phase="Succeeded")}
BAD = {"ok": HookStatus(phase="Succeeded"), "broken": HookStatus(phase="Failed")}


def release(spec: dict[str, Any] | None = None, **status: Any) -> HelmRelease:
    """Return a HelmRelease ``apps/demo`` in its second generation."""
    chart = {"spec": {"chart": "demo", "sourceRef": {"kind": "GitRepository", "name": "repo"}}}
    body = {
        "metadata": {"namespace": "apps", "name": "demo", "uid": "u", "generation": 2},
        "spec": {"interval": "10m", "chart": chart, **(spec or {})},
    }
    found = msgspec.convert(body, HelmRelease)
    return msgspec.structs.replace(found, status=HelmReleaseStatus(**status))


def snapshot(version: int = 1, **fields: Any) -> Snapshot:
    """Return a snapshot of a revision that is in force."""
    known: dict[str, Any] = {
        "api_version": "v2",
        "digest": f"sha256:{version}",
        "name": "demo",
        "namespace": "apps",
        "version": version,
        "status": "deployed",
        "chart_name": "demo",
        "chart_version": "1.0.0",
        "config_digest": "sha256:values",
        "first_deployed": "2026-01-01T00:00:00Z",
        "last_deployed": "2026-01-01T00:00:00Z",
    }
    return Snapshot(**(known | fields))


def stored(version: int = 1, **fields: Any) -> Stored:
    """Return a record that is the one of `snapshot`."""
    known: dict[str, Any] = {
        "name": "demo",
        "namespace": "apps",
        "version": version,
        "status": "deployed",
        "chart_name": "demo",
        "chart_version": "1.0.0",
        "digest": f"sha256:{version}",
    }
    return Stored(**(known | fields))


def wanted(**fields: Any) -> Wanted:
    """Return what the record of `stored` is made of."""
    known: dict[str, Any] = {
        "chart_name": "demo",
        "chart_version": "1.0.0",
        "config_digest": "sha256:values",
    }
    return Wanted(**(known | fields))
