"""How often a Kustomization is reconciled and how long it may wait, in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import durations

if TYPE_CHECKING:
    from api.kustomize import KustomizationSpec

MIN_TIMEOUT_S: Final = 30.0
"""Flux's hidden floor, which holds for an explicit ``spec.timeout`` too."""
_DEFAULT_INTERVAL_S: Final = 600.0
"""Where the interval cannot be read, which the CRD's pattern prevents."""


def interval_s(spec: KustomizationSpec) -> float:
    """Return the seconds between runs that nothing else caused."""
    return durations.parse_or(spec.interval, _DEFAULT_INTERVAL_S)


def retry_s(spec: KustomizationSpec) -> float:
    """Return the seconds until a failed run is tried again: fixed, without back-off, as in Flux."""
    return durations.parse_or(spec.retry_interval, interval_s(spec))


def timeout_s(spec: KustomizationSpec) -> float:
    """Return the time limit of health checks and of waits for termination, in seconds."""
    return max(MIN_TIMEOUT_S, durations.parse_or(spec.timeout, interval_s(spec) - MIN_TIMEOUT_S))
