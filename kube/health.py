"""Whether an object has become what its spec asks for: kstatus, as Flux uses it.

`assess` is a pure function of the whole object and the time. Its order is kstatus's: deletion,
generation, the abnormal conditions, then a rule of the kind from one table, then ``Ready``.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from kube.objects import GVK, JsonObject, ObjectId

_UNSCHEDULABLE_GRACE: Final = dt.timedelta(seconds=15)
_ROLLOUT_FAILED: Final = "ProgressDeadlineExceeded"


class State(enum.StrEnum):
    """The states of kstatus, and the two that a waiting reader adds."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


class Health(NamedTuple):
    """The state of one object, with a sentence for people."""

    status: State
    message: str = ""


Rule: TypeAlias = Callable[[JsonObject, dt.datetime], Health | None]
"""Judges one kind; None leaves the object to the generic rules."""

CURRENT: Final = Health(State.CURRENT, "Resource is current")


def assess(obj: JsonObject, now: dt.datetime) -> Health:
    """Judge an object.

    Args:
        obj: the whole object, as the server sent it.
        now: the time, for what is given a grace period.
    """
    try:
        return _common(obj) or _of_kind(obj, now) or _ready(obj) or CURRENT
    except (TypeError, AttributeError, ValueError) as err:
        return Health(State.UNKNOWN, f"status cannot be read: {err}")


def _common(obj: JsonObject) -> Health | None:
    metadata = obj.get("metadata", {})
    if metadata.get("deletionTimestamp"):
        return Health(State.TERMINATING, "Resource scheduled for deletion")
    observed = _status(obj).get("observedGeneration")
    generation = metadata.get("generation", 0)
    if observed is not None and observed != generation:
        return _waiting(f"generation is {generation}, but latest observed generation is {observed}")
    for condition in _conditions(obj):
        if condition.get("status") == "True" and condition.get("type") in _ABNORMAL:
            return Health(_ABNORMAL[condition["type"]], str(condition.get("message", "")))
    return None


_ABNORMAL: Final = {"Reconciling": State.IN_PROGRESS, "Stalled": State.FAILED}


def _of_kind(obj: JsonObject, now: dt.datetime) -> Health | None:
    gvk = GVK.of(obj)
    rule = _RULES.get((gvk.group, gvk.kind))
    return rule(obj, now) if rule else None


def _ready(obj: JsonObject) -> Health | None:
    ready = _condition(obj, "Ready")
    if ready is None or ready.get("status") == "True":
        return None
    return _waiting(str(ready.get("message", "")))


def _waiting(message: str) -> Health:
    return Health(State.IN_PROGRESS, message)


def _status(obj: JsonObject) -> JsonObject:
    return obj.get("status") or {}


def _spec(obj: JsonObject) -> JsonObject:
    return obj.get("spec") or {}


def _conditions(obj: JsonObject) -> Iterator[JsonObject]:
    return (item for item in _status(obj).get("conditions") or () if isinstance(item, dict))


def _condition(obj: JsonObject, type_: str) -> JsonObject | None:
    return next((item for item in _conditions(obj) if item.get("type") == type_), None)


def _is_true(obj: JsonObject, type_: str) -> bool:
    condition = _condition(obj, type_)
    return condition is not None and condition.get("status") == "True"


class _Check(NamedTuple):
    """One comparison of counters: while `more` is above `less`, the object is in progress."""

    more: int
    less: int
    message: str


def _first_behind(checks: Iterable[_Check]) -> Health | None:
    for more, less, message in checks:
        if more > less:
            return _waiting(f"{message}: {less}/{more}")
    return None


def _count(values: Mapping[str, Any], field: str, default: int = 0) -> int:
    value = values.get(field)
    return default if value is None else int(value)


def _deployment(obj: JsonObject, _: dt.datetime) -> Health:
    progressing = _condition(obj, "Progressing")
    if progressing is not None and progressing.get("reason") == _ROLLOUT_FAILED:
        return Health(State.FAILED, "Progress deadline exceeded")
    spec, status = _spec(obj), _status(obj)
    wanted = _count(spec, "replicas", 1)
    replicas, updated = _count(status, "replicas"), _count(status, "updatedReplicas")
    available, ready = _count(status, "availableReplicas"), _count(status, "readyReplicas")
    behind = _first_behind(
        (
            _Check(wanted, replicas, "Replicas"),
            _Check(wanted, updated, "Updated"),
            _Check(replicas, wanted, "Pending termination"),
            _Check(updated, available, "Available"),
            _Check(wanted, ready, "Ready"),
        )
    )
    if behind:
        return behind
    has_deadline = "progressDeadlineSeconds" in spec
    is_rolled_out = (
        progressing is not None and progressing.get("reason") == "NewReplicaSetAvailable"
    )
    if has_deadline and not is_rolled_out:
        return _waiting("ReplicaSet not Available")
    if not _is_true(obj, "Available"):
        return _waiting("Deployment not Available")
    return Health(State.CURRENT, f"Deployment is available. Replicas: {replicas}")


def _stateful_set(obj: JsonObject, _: dt.datetime) -> Health:
    spec, status = _spec(obj), _status(obj)
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return Health(State.CURRENT, "StatefulSet is using the ondelete update strategy")
    wanted, replicas = _count(spec, "replicas", 1), _count(status, "replicas")
    behind = _first_behind(
        (
            _Check(wanted, replicas, "Replicas"),
            _Check(wanted, _count(status, "readyReplicas"), "Ready"),
            _Check(replicas, wanted, "Pending termination"),
        )
    )
    if behind:
        return behind
    partition = (strategy.get("rollingUpdate") or {}).get("partition")
    if partition:
        updating = _Check(wanted - partition, _count(status, "updatedReplicas"), "Updated")
        return _first_behind((updating,)) or Health(State.CURRENT, "Partition rollout complete")
    behind = _first_behind((_Check(wanted, _count(status, "currentReplicas"), "Current"),))
    if behind:
        return behind
    if status.get("currentRevision") != status.get("updateRevision"):
        return _waiting("Waiting for updated revision to match current")
    return Health(State.CURRENT, f"All replicas scheduled as expected. Replicas: {replicas}")


def _daemon_set(obj: JsonObject, _: dt.datetime) -> Health:
    status = _status(obj)
    if "observedGeneration" not in status or "generation" not in obj.get("metadata", {}):
        return _waiting("Observed generation is not known")
    if "desiredNumberScheduled" not in status:
        return _waiting("Missing .status.desiredNumberScheduled")
    wanted = _count(status, "desiredNumberScheduled")
    behind = _first_behind(
        (
            _Check(wanted, _count(status, "currentNumberScheduled"), "Current"),
            _Check(wanted, _count(status, "updatedNumberScheduled"), "Updated"),
            _Check(wanted, _count(status, "numberAvailable"), "Available"),
            _Check(wanted, _count(status, "numberReady"), "Ready"),
        )
    )
    return behind or Health(State.CURRENT, "All replicas scheduled as expected")


def _replica_set(obj: JsonObject, _: dt.datetime) -> Health:
    if _is_true(obj, "ReplicaFailure"):
        return _waiting("Replica Failure condition. Check Pods")
    status, wanted = _status(obj), _count(_spec(obj), "replicas", 1)
    behind = _first_behind(
        (
            _Check(wanted, _count(status, "fullyLabeledReplicas"), "Labelled"),
            _Check(wanted, _count(status, "availableReplicas"), "Available"),
            _Check(wanted, _count(status, "readyReplicas"), "Ready"),
            _Check(_count(status, "replicas"), wanted, "Pending termination"),
        )
    )
    return behind or Health(State.CURRENT, "ReplicaSet is available")


def _pod(obj: JsonObject, now: dt.datetime) -> Health:
    phase = _status(obj).get("phase")
    if phase in {"Succeeded", "Failed"}:
        return Health(State.CURRENT, "Pod has completed")
    if phase == "Running":
        return _running_pod(obj)
    if phase == "Pending":
        return _pending_pod(obj, now)
    return _waiting("Pod phase not available")


def _running_pod(obj: JsonObject) -> Health:
    if _is_true(obj, "Ready"):
        return Health(State.CURRENT, "Pod is Ready")
    status = _status(obj)
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(field) or ():
            reason = ((container.get("state") or {}).get("waiting") or {}).get("reason")
            if reason == "CrashLoopBackOff":
                return Health(State.FAILED, f"Containers in CrashLoop state: {container['name']}")
    return _waiting("Pod is running but is not Ready")


def _pending_pod(obj: JsonObject, now: dt.datetime) -> Health:
    scheduled = _condition(obj, "PodScheduled")
    is_refused = (
        scheduled is not None
        and scheduled.get("status") == "False"
        and scheduled.get("reason") == "Unschedulable"
    )
    if not is_refused:
        return _waiting("Pod is in the Pending phase")
    since = (scheduled or {}).get("lastTransitionTime") or obj["metadata"]["creationTimestamp"]
    if now - dt.datetime.fromisoformat(since) < _UNSCHEDULABLE_GRACE:
        return _waiting("Pod has not been scheduled")
    return Health(State.FAILED, "Pod could not be scheduled")


def _volume_claim(obj: JsonObject, _: dt.datetime) -> Health:
    phase = _status(obj).get("phase", "unknown")
    if phase != "Bound":
        return _waiting(f"PVC is not Bound. phase: {phase}")
    return Health(State.CURRENT, "PVC is Bound")


def _service(obj: JsonObject, _: dt.datetime) -> Health:
    spec = _spec(obj)
    if spec.get("type") == "LoadBalancer" and not spec.get("clusterIP"):
        return _waiting("ClusterIP not set. Service type: LoadBalancer")
    return Health(State.CURRENT, "Service is ready")


def _definition(obj: JsonObject, _: dt.datetime) -> Health:
    accepted = _condition(obj, "NamesAccepted")
    if accepted is not None and accepted.get("status") == "False":
        return Health(State.FAILED, str(accepted.get("message", "")))
    established = _condition(obj, "Established") or {}
    if established.get("status") == "True":
        return Health(State.CURRENT, "CRD is established")
    if established.get("status") == "False" and established.get("reason") != "Installing":
        return Health(State.FAILED, str(established.get("message", "")))
    return _waiting("Install in progress")


def _job(obj: JsonObject, _: dt.datetime) -> Health:
    if _spec(obj).get("suspend"):
        return Health(State.CURRENT, "Job is suspended")
    if _is_true(obj, "Complete"):
        return Health(State.CURRENT, "Job Completed")
    failed = _condition(obj, "Failed")
    if failed is not None and failed.get("status") == "True":
        return Health(State.FAILED, f"Job Failed: {failed.get('message', '')}")
    return _waiting("Job in progress")


def _always(_: JsonObject, __: dt.datetime) -> Health:
    return Health(State.CURRENT, "Resource is always ready")


_RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("apps", "Deployment"): _deployment,
    ("extensions", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("extensions", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("extensions", "ReplicaSet"): _replica_set,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _volume_claim,
    ("", "Service"): _service,
    ("", "Secret"): _always,
    ("", "ConfigMap"): _always,
    ("policy", "PodDisruptionBudget"): _always,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _always,
}


def expires(obj: JsonObject) -> bool:
    """Whether the object is a Job that removes itself, so that its absence means success."""
    spec = _spec(obj)
    return GVK.of(obj).kind == "Job" and spec.get("ttlSecondsAfterFinished") is not None


def describe_timeout(waiting: Iterable[tuple[ObjectId, Health]]) -> str:
    """Word a wait that ran out of time, as Flux does."""
    return f"timeout waiting for: [{_listed(waiting, with_error=True)}]"


def describe_failed(failed: Iterable[tuple[ObjectId, Health]]) -> str:
    """Word a wait that ended because an object cannot get well, as Flux does."""
    return f"failed early due to stalled resources: [{_listed(failed)}]"


def describe_unseen(obj: ObjectId) -> str:
    """Word an object whose state was never learnt, as Flux does."""
    return f"can't determine status for {obj}"


def _listed(items: Iterable[tuple[ObjectId, Health]], *, with_error: bool = False) -> str:
    return ", ".join(
        f"{obj} status: '{health.status}'"
        + (f": {health.message}" if with_error and health.status is State.UNKNOWN else "")
        for obj, health in items
    )
