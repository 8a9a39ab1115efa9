"""How a failed apply is told, and what counts as an immutable field."""

from __future__ import annotations

import pytest

from api import meta
from kube import errors, wording
from kube.changes import Action, Change, ChangeSet
from kube.objects import ObjectId

OBJ = ObjectId("ns", "a", "", "ConfigMap")
ROLE = ObjectId("", "r", "rbac.authorization.k8s.io", "ClusterRole")


def invalid(message: str) -> errors.ApiError:
    return errors.Invalid(422, "Invalid", message)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (invalid("no"), "ConfigMap/ns/a dry-run failed (Invalid): no"),
        (errors.Forbidden(403, "Forbidden", "no"), "ConfigMap/ns/a dry-run failed (Forbidden): no"),
        (errors.ServerError(500, "", "no"), "ConfigMap/ns/a dry-run failed: no"),
        (
            errors.NotFound(404, "NotFound", 'namespaces "ns" not found'),
            'ConfigMap/ns/a not found: namespaces "ns" not found',
        ),
        (
            errors.NoMatch("X", "g/v"),
            'ConfigMap/ns/a dry-run failed: no matches for kind "X" in version "g/v"',
        ),
    ],
)
def test_refusals_read_as_in_flux(error: errors.ApiError, text: str) -> None:
    assert wording.refused(OBJ, error).text == text


def test_cluster_scoped_object_is_named_without_a_namespace() -> None:
    assert wording.refused(ROLE, invalid("no")).text == "ClusterRole/r dry-run failed (Invalid): no"


@pytest.mark.parametrize(
    "message",
    [
        'ConfigMap "a" is invalid: data: Forbidden: field is immutable when `immutable` is set',
        "spec.selector: Invalid value: {}: field is immutable",
        "spec is immutable after creation except resources.requests",
        "roleRef: Invalid value: {}: cannot change roleRef",
        "spec.clusterIPs[0]: Invalid value: []: may not change once set",
        "parameters: Forbidden: updates to parameters are forbidden.",
        "spec: Forbidden: updates to statefulset spec for fields other than x are forbidden",
        "value: Forbidden: may not be changed in an update.",
        "spec: Forbidden: pod updates may not change fields other than image",
        'Widget "w" is invalid: spec.size: Invalid value: 3: size is immutable',
    ],
)
def test_immutable_fields_are_recognised(message: str) -> None:
    assert wording.is_immutable(invalid(message))


@pytest.mark.parametrize(
    "error",
    [
        invalid("spec.ports[0].port: Invalid value: 800000: must be between 1 and 65535"),
        invalid("the field is not immutable, but wrong"),
        errors.ServerError(500, "InternalError", "webhook failed: field is immutable"),
        errors.NotFound(404, "NotFound", "immutable not found"),
        errors.Conflict(409, "Conflict", "the object has been modified"),
    ],
)
def test_what_is_merely_invalid_is_not_immutable(error: errors.ApiError) -> None:
    assert not wording.is_immutable(error)


def test_failed_apply_tells_errors_then_what_was_done() -> None:
    changes = ChangeSet([Change(ROLE, "v1", Action.CREATED), Change(OBJ, "v1", Action.UNCHANGED)])
    error = wording.ApplyError(["first", "second"], changes)
    assert error.message == "first\nsecond\nClusterRole/r created"
    assert error.reason == meta.RECONCILIATION_FAILED
    assert error.changes is changes


def test_failed_apply_of_many_objects_counts_the_rest() -> None:
    message = wording.ApplyError([str(number) for number in range(60)], ChangeSet()).message
    assert message.splitlines()[-2:] == ["49", "and 10 more errors"]


def test_lines_of_an_apply_leave_out_what_did_not_happen() -> None:
    changes = ChangeSet([Change(OBJ, "v1", Action.SKIPPED), Change(ROLE, "v1", Action.CONFIGURED)])
    assert changes.lines() == "ClusterRole/r configured"
    assert changes.lines(everything=True) == "ConfigMap/ns/a skipped\nClusterRole/r configured"
