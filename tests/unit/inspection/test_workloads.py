from __future__ import annotations

from typing import Any

from inspection import podlogs, workloads
from inspection.workloads import Trouble


def pod(*statuses: dict[str, Any], conditions: list[dict[str, Any]] | None = None) -> Any:
    status = {"containerStatuses": list(statuses), "conditions": conditions or []}
    return {"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop"}, "status": status}


def test_container_that_waits_tells_why() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}
    found = list(workloads.of_pod(pod({"name": "app", "state": {"waiting": waiting}})))

    where = "Pod/shop/web-1 container app"
    assert found == [Trouble(where, "ImagePullBackOff", 'Back-off pulling image "x"')]


def test_container_that_is_being_made_is_no_trouble() -> None:
    waiting = {"reason": "ContainerCreating"}

    assert not list(workloads.of_pod(pod({"name": "app", "state": {"waiting": waiting}})))


def test_last_exit_is_told_without_what_it_gave_away() -> None:
    ended = {"exitCode": 1, "reason": "Error", "message": "postgres://me:geheim@db refused"}
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    status = {"name": "app", "state": state, "lastState": {"terminated": ended}}

    found = list(workloads.of_pod(pod(status)))

    assert [each.reason for each in found] == ["CrashLoopBackOff", "Error"]
    assert "exited with code 1" in found[1].message
    assert "geheim" not in found[1].message


def test_pod_that_no_node_takes_says_so() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}

    (found,) = workloads.of_pod(pod(conditions=[condition]))

    assert found.reason == "FailedScheduling"


def test_containers_that_start_a_pod_come_first() -> None:
    spec = {"initContainers": [{"name": "init"}], "containers": [{"name": "a"}, {"name": "b"}]}

    assert podlogs.containers({"spec": spec}) == ["init", "a", "b"]
