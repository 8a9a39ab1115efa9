from __future__ import annotations

import msgspec
import pytest

from api.kustomize import Kustomization
from inspection import waiting

TOKEN = "2026-01-01T00:00:00.000001+00:00"


def kustomization(
    ready: str | None, *, generation: int = 2, observed: int = 2, handled: str = TOKEN
) -> Kustomization:
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": "Any",
        "message": "any",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": observed,
    }
    return msgspec.convert(
        {
            "metadata": {"name": "apps", "namespace": "flux-system", "generation": generation},
            "spec": {
                "interval": "1m",
                "prune": True,
                "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            },
            "status": {
                "conditions": [condition] if ready else [],
                "lastHandledReconcileAt": handled,
            },
        },
        Kustomization,
    )


@pytest.mark.parametrize(
    ("ready", "verdict"), [("True", True), ("False", False), ("Unknown", None)]
)
def test_handled_request_is_judged_by_the_ready_condition(
    ready: str, verdict: waiting.Verdict
) -> None:
    assert waiting.handled(kustomization(ready), TOKEN) is verdict


def test_request_that_is_not_handled_yet_is_waited_for() -> None:
    assert waiting.handled(kustomization("True", handled="before"), TOKEN) is None


def test_object_without_a_ready_condition_is_waited_for() -> None:
    assert waiting.handled(kustomization(None), TOKEN) is None
    assert waiting.judged(kustomization(None)) is None


@pytest.mark.parametrize("ready", ["True", "False"])
def test_condition_about_an_older_generation_is_no_verdict(ready: str) -> None:
    assert waiting.judged(kustomization(ready, generation=3, observed=2)) is None
