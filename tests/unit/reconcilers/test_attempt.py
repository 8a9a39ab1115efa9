"""What a run is about, when somebody writes the object in the middle of it."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from api import meta
from api.helm import HelmRelease
from api.kustomize import Kustomization
from reconcilers.helmrelease.attempt import Attempt as ReleaseAttempt
from reconcilers.kustomization.attempt import Attempt as KustomizationAttempt

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def read(type_: type[Any], generation: int, interval: str, request: str = "") -> Any:
    spec: dict[str, Any] = {"interval": interval}
    if type_ is Kustomization:
        spec |= {"prune": True, "sourceRef": {"kind": "GitRepository", "name": "fleet"}}
    annotations = {meta.REQUESTED_AT: request} if request else {}
    own = {"name": "a", "namespace": "n", "generation": generation, "annotations": annotations}
    return msgspec.convert({"metadata": own, "spec": spec}, type_)


@pytest.mark.parametrize(
    ("type_", "begin"), [(Kustomization, KustomizationAttempt), (HelmRelease, ReleaseAttempt)]
)
def test_what_comes_in_the_middle_of_a_run_is_the_next_runs(
    type_: type[Any], begin: Callable[..., Any]
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 0.0, now=lambda: NOW)
    run = begin(SimpleNamespace(name="c", clock=clock), None, read(type_, 2, "1m"), None)
    run.written = read(type_, 3, "2m", request="meanwhile")
    run.condition(meta.READY, "True", "Done", "all is well")
    assert run.item.spec.interval == "1m"
    assert run.generation == 2
    assert run.status.conditions[0].observed_generation == 2
    assert not run.is_requested
    assert run.basis.requested_at is None
