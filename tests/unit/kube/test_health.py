"""kstatus as Flux uses it, kind by kind."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kube import health
from kube.health import Health, State
from kube.objects import JsonObject, ObjectId

NOW = dt.datetime(2026, 1, 1, 12, 0, 0, tzinfo=dt.UTC)
CURRENT, WAITING, FAILED = State.CURRENT, State.IN_PROGRESS, State.FAILED


def condition(type_: str, status: str = "True", reason: str = "", **more: Any) -> JsonObject:
    return {"type": type_, "status": status, "reason": reason, "message": f"about {type_}"} | more


def obj(
    kind: str,
    spec: JsonObject | None = None,
    status: JsonObject | None = None,
    *conditions: JsonObject,
    **metadata: Any,
) -> JsonObject:
    group, _, name = kind.rpartition("/")
    found: JsonObject = {"kind": name, "apiVersion": f"{group}/v1" if group else "v1"}
    found["metadata"] = {"name": "x", "generation": 2} | metadata
    if spec is not None:
        found["spec"] = spec
    if status is not None or conditions:
        found["status"] = (status or {}) | ({"conditions": list(conditions)} if conditions else {})
    return found


def state(found: JsonObject) -> State:
    return health.assess(found, NOW).status


DEPLOYED = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}
PROGRESSED = condition("Progressing", "True", "NewReplicaSetAvailable")
DEADLINE = {"progressDeadlineSeconds": 600}
SETTLED = {
    "observedGeneration": 2,
    "desiredNumberScheduled": 3,
    "currentNumberScheduled": 3,
    "updatedNumberScheduled": 3,
    "numberAvailable": 3,
    "numberReady": 3,
}
STATEFUL = {
    "replicas": 2,
    "readyReplicas": 2,
    "currentReplicas": 2,
    "updatedReplicas": 2,
    "currentRevision": "a",
    "updateRevision": "a",
}
REPLICATED = {"replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (obj("example.com/Any"), CURRENT),
        (obj("example.com/Any", deletionTimestamp="2026-01-01T00:00:00Z"), State.TERMINATING),
        (obj("example.com/Any", status={"observedGeneration": 1}), WAITING),
        (obj("example.com/Any", status={"observedGeneration": 2}), CURRENT),
        (obj("example.com/Any", None, None, condition("Reconciling")), WAITING),
        (obj("example.com/Any", None, None, condition("Stalled")), FAILED),
        (obj("example.com/Any", None, None, condition("Stalled", "False")), CURRENT),
        (
            obj("example.com/Any", None, None, condition("Stalled"), condition("Reconciling")),
            FAILED,
        ),
        (
            obj("example.com/Any", None, None, condition("Reconciling"), condition("Stalled")),
            WAITING,
        ),
        (obj("example.com/Any", None, None, condition("Ready")), CURRENT),
        (obj("example.com/Any", None, None, condition("Ready", "False")), WAITING),
        (obj("example.com/Any", None, None, condition("Ready", "Unknown")), WAITING),
        (obj("example.com/Any", None, {"observedGeneration": 1}, condition("Stalled")), WAITING),
    ],
)
def test_generic_rules(found: JsonObject, wanted: State) -> None:
    assert state(found) is wanted


@pytest.mark.parametrize(
    ("spec", "status", "conditions", "wanted"),
    [
        ({}, DEPLOYED, (PROGRESSED, condition("Available")), CURRENT),
        (DEADLINE, DEPLOYED, (PROGRESSED, condition("Available")), CURRENT),
        (DEADLINE, DEPLOYED, (condition("Available"),), WAITING),
        ({}, DEPLOYED, (condition("Available"),), CURRENT),
        ({}, DEPLOYED, (PROGRESSED, condition("Available", "False")), WAITING),
        ({}, {}, (), WAITING),
        ({"replicas": 0}, {}, (condition("Available"),), CURRENT),
        ({"replicas": 2}, DEPLOYED, (PROGRESSED, condition("Available")), WAITING),
        ({}, DEPLOYED | {"updatedReplicas": 0}, (condition("Available"),), WAITING),
        ({}, DEPLOYED | {"replicas": 2}, (condition("Available"),), WAITING),
        ({}, DEPLOYED | {"availableReplicas": 0}, (condition("Available"),), WAITING),
        ({}, DEPLOYED | {"readyReplicas": 0}, (condition("Available"),), WAITING),
        ({}, DEPLOYED, (condition("Progressing", "False", "ProgressDeadlineExceeded"),), FAILED),
    ],
)
@pytest.mark.parametrize("group", ["apps", "extensions"])
def test_deployment(
    group: str,
    spec: JsonObject,
    status: JsonObject,
    conditions: tuple[JsonObject, ...],
    wanted: State,
) -> None:
    assert state(obj(f"{group}/Deployment", spec, status, *conditions)) is wanted


@pytest.mark.parametrize(
    ("spec", "status", "wanted"),
    [
        ({"replicas": 2}, STATEFUL, CURRENT),
        ({"replicas": 3}, STATEFUL, WAITING),
        ({"replicas": 1}, STATEFUL, WAITING),
        ({"replicas": 2}, STATEFUL | {"readyReplicas": 1}, WAITING),
        ({"replicas": 2}, STATEFUL | {"currentReplicas": 1}, WAITING),
        ({"replicas": 2}, STATEFUL | {"updateRevision": "b"}, WAITING),
        ({"updateStrategy": {"type": "OnDelete"}}, {}, CURRENT),
        (
            {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
            STATEFUL | {"updatedReplicas": 1, "updateRevision": "b"},
            CURRENT,
        ),
        (
            {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
            STATEFUL | {"updatedReplicas": 0},
            WAITING,
        ),
        (
            {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 0}}},
            STATEFUL,
            CURRENT,
        ),
    ],
)
def test_stateful_set(spec: JsonObject, status: JsonObject, wanted: State) -> None:
    assert state(obj("apps/StatefulSet", spec, status)) is wanted


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (SETTLED, CURRENT),
        ({}, WAITING),
        ({"observedGeneration": 2}, WAITING),
        ({key: value for key, value in SETTLED.items() if key != "observedGeneration"}, WAITING),
        (SETTLED | {"currentNumberScheduled": 2}, WAITING),
        (SETTLED | {"updatedNumberScheduled": 2}, WAITING),
        (SETTLED | {"numberAvailable": 2}, WAITING),
        (SETTLED | {"numberReady": 2}, WAITING),
        (SETTLED | {"desiredNumberScheduled": 0}, CURRENT),
    ],
)
def test_daemon_set(status: JsonObject, wanted: State) -> None:
    assert state(obj("apps/DaemonSet", {}, status)) is wanted


@pytest.mark.parametrize(
    ("status", "conditions", "wanted"),
    [
        (REPLICATED, (), CURRENT),
        (REPLICATED, (condition("ReplicaFailure"),), WAITING),
        (REPLICATED | {"fullyLabeledReplicas": 0}, (), WAITING),
        (REPLICATED | {"availableReplicas": 0}, (), WAITING),
        (REPLICATED | {"readyReplicas": 0}, (), WAITING),
        (REPLICATED | {"replicas": 2}, (), WAITING),
    ],
)
def test_replica_set(status: JsonObject, conditions: tuple[JsonObject, ...], wanted: State) -> None:
    assert state(obj("apps/ReplicaSet", {}, status, *conditions)) is wanted


def waiting(reason: str) -> JsonObject:
    return {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason}}}]}


def unschedulable(seconds_ago: int) -> JsonObject:
    since = (NOW - dt.timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return condition("PodScheduled", "False", "Unschedulable", lastTransitionTime=since)


@pytest.mark.parametrize(
    ("status", "conditions", "wanted"),
    [
        ({"phase": "Succeeded"}, (), CURRENT),
        ({"phase": "Failed"}, (), CURRENT),
        ({"phase": "Running"}, (condition("Ready"),), CURRENT),
        ({"phase": "Running"}, (), WAITING),
        ({"phase": "Running"} | waiting("CrashLoopBackOff"), (), FAILED),
        ({"phase": "Running"} | waiting("ContainerCreating"), (), WAITING),
        ({"phase": "Pending"}, (), WAITING),
        ({"phase": "Pending"}, (unschedulable(14),), WAITING),
        ({"phase": "Pending"}, (unschedulable(16),), FAILED),
        ({}, (), WAITING),
    ],
)
def test_pod(status: JsonObject, conditions: tuple[JsonObject, ...], wanted: State) -> None:
    assert state(obj("Pod", {}, status, *conditions)) is wanted


@pytest.mark.parametrize(
    ("spec", "conditions", "wanted"),
    [
        ({"suspend": True}, (), CURRENT),
        ({}, (condition("Complete"),), CURRENT),
        ({}, (condition("Failed"),), FAILED),
        ({}, (condition("Failed", "False"),), WAITING),
        ({}, (), WAITING),
    ],
)
def test_job(spec: JsonObject, conditions: tuple[JsonObject, ...], wanted: State) -> None:
    assert state(obj("batch/Job", spec, {"active": 1}, *conditions)) is wanted


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        ((), WAITING),
        ((condition("NamesAccepted", "False"),), FAILED),
        ((condition("Established", "False", "Installing"),), WAITING),
        ((condition("Established", "False", "NotAccepted"),), FAILED),
        ((condition("NamesAccepted"), condition("Established")), CURRENT),
    ],
)
def test_custom_resource_definition(conditions: tuple[JsonObject, ...], wanted: State) -> None:
    found = obj("apiextensions.k8s.io/CustomResourceDefinition", {}, {}, *conditions)
    assert state(found) is wanted


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (obj("PersistentVolumeClaim", {}, {"phase": "Bound"}), CURRENT),
        (obj("PersistentVolumeClaim", {}, {"phase": "Pending"}), WAITING),
        (obj("PersistentVolumeClaim"), WAITING),
        (obj("Service", {"type": "LoadBalancer"}), WAITING),
        (obj("Service", {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), CURRENT),
        (obj("Service", {"type": "ClusterIP"}), CURRENT),
        (obj("Secret"), CURRENT),
        (obj("ConfigMap"), CURRENT),
        (obj("batch/CronJob"), CURRENT),
        (obj("policy/PodDisruptionBudget", {}, {"observedGeneration": 1}), WAITING),
        (obj("policy/PodDisruptionBudget", {}, {"observedGeneration": 2}), CURRENT),
        (obj("Namespace", {}, {"phase": "Active"}), CURRENT),
    ],
)
def test_other_kinds(found: JsonObject, wanted: State) -> None:
    assert state(found) is wanted


@pytest.mark.parametrize("status", ["text", [1], {"conditions": 3}])
def test_status_of_an_unexpected_shape_is_unknown(status: object) -> None:
    found = obj("apps/Deployment") | {"status": status}
    assert state(found) is State.UNKNOWN


def test_null_status_and_null_spec_are_empty() -> None:
    assert state(obj("ConfigMap") | {"status": None, "spec": None}) is CURRENT


def test_job_that_removes_itself() -> None:
    assert health.expires(obj("batch/Job", {"ttlSecondsAfterFinished": 0}))
    assert not health.expires(obj("batch/Job", {}))
    assert not health.expires(obj("example.com/Any", {"ttlSecondsAfterFinished": 0}))


def test_texts_read_as_in_flux() -> None:
    one, two = ObjectId("ns", "a", "apps", "Deployment"), ObjectId("", "b", "", "Namespace")
    items = [
        (one, Health(WAITING, "not shown")),
        (two, Health(State.UNKNOWN, "no matches for kind")),
    ]
    assert health.describe_timeout(items) == (
        "timeout waiting for: [Deployment/ns/a status: 'InProgress', "
        "Namespace/b status: 'Unknown': no matches for kind]"
    )
    assert health.describe_failed([(one, Health(FAILED))]) == (
        "failed early due to stalled resources: [Deployment/ns/a status: 'Failed']"
    )
    assert health.describe_unseen(two) == "can't determine status for Namespace/b"
