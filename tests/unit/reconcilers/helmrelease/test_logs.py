"""Which container of a hook's pod is asked for its log."""

from __future__ import annotations

from typing import Any

import pytest

from reconcilers.helmrelease import logs

FAILED = {"terminated": {"exitCode": 3}}
ENDED = {"terminated": {"exitCode": 0}}
RUNS: dict[str, Any] = {"running": {}}
WAITS = {"waiting": {"reason": "CrashLoopBackOff"}}


def pod(*, annotations: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "annotations": annotations},
        "spec": {"containers": [{"name": "first"}, {"name": "second"}]},
        "status": status,
    }


@pytest.mark.parametrize(
    ("given", "container"),
    [
        pytest.param(pod(), "first", id="nothing is known"),
        pytest.param(
            pod(
                containerStatuses=[
                    {"name": "first", "state": RUNS},
                    {"name": "second", "state": FAILED},
                ]
            ),
            "second",
            id="one failed",
        ),
        pytest.param(
            pod(
                initContainerStatuses=[{"name": "before", "state": FAILED}],
                containerStatuses=[{"name": "first", "state": WAITS}],
            ),
            "before",
            id="an init container failed",
        ),
        pytest.param(
            pod(
                containerStatuses=[
                    {"name": "first", "state": RUNS},
                    {"name": "second", "state": WAITS, "lastState": FAILED},
                ]
            ),
            "second",
            id="one failed and waits to be started again",
        ),
        pytest.param(
            pod(
                annotations={"kubectl.kubernetes.io/default-container": "second"},
                containerStatuses=[{"name": "first", "state": ENDED}],
            ),
            "second",
            id="none failed and the pod names its main one",
        ),
    ],
)
def test_the_container_that_tells_most_is_asked(given: dict[str, Any], container: str) -> None:
    assert logs.telling(given) == container
