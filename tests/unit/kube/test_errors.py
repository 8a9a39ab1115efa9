"""Which error an answer means, what of it is quoted, and what it leads to."""

from __future__ import annotations

import orjson
import pytest

from kube import errors
from runtime.errors import TerminalError, TransientError


def status(**fields: object) -> bytes:
    return orjson.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", **fields})


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.BadRequest),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Gone),
        (418, "", errors.ApiError),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.TooManyRequests),
        (500, "InternalError", errors.ServerError),
        (503, "ServiceUnavailable", errors.ServerError),
    ],
)
def test_status_code_chooses_the_error(code: int, reason: str, kind: type) -> None:
    error = errors.from_response(code, status(message="it said so", reason=reason))
    assert type(error) is kind
    assert (error.status, error.reason, error.message) == (code, reason, "it said so")


def test_details_are_kept() -> None:
    causes = [{"reason": "FieldValueInvalid", "message": "must be 1", "field": "spec.x"}]
    body = status(message="no", details={"name": "a", "kind": "b", "causes": causes})
    error = errors.from_response(422, body)
    assert (error.details.name, error.details.kind) == ("a", "b")
    assert error.details.causes == (
        errors.Cause(reason="FieldValueInvalid", message="must be 1", field="spec.x"),
    )


@pytest.mark.parametrize("body", [b"", b"<html>secret</html>", b'{"token": "secret"}', b'"secret"'])
def test_only_a_status_is_quoted(body: bytes) -> None:
    error = errors.from_response(502, body)
    assert str(error) == "the server answered with HTTP status 502"


def test_endless_message_is_cut() -> None:
    assert len(errors.from_response(500, status(message="x" * 100_000)).message) == 8192


def test_time_to_wait_comes_from_the_header_or_the_details() -> None:
    body = status(message="slow down", details={"retryAfterSeconds": 7})
    assert errors.from_response(429, body).retry_after_s == 7
    assert errors.from_response(429, body, retry_after_s=2).retry_after_s == 2
    assert errors.from_response(500, status(message="x")).retry_after_s is None


def test_unserved_kind_is_named_as_flux_names_it() -> None:
    error = errors.NoMatch("Foo", "example.org/v1")
    assert str(error) == 'no matches for kind "Foo" in version "example.org/v1"'
    assert isinstance(error, errors.NotFound)


@pytest.mark.parametrize("code", [400, 422])
def test_what_only_git_can_mend_is_terminal(code: int) -> None:
    leaf = errors.to_leaf(errors.from_response(code, status(message="no")), "Failed", "a/b: ")
    assert isinstance(leaf, TerminalError)
    assert (leaf.reason, leaf.message) == ("Failed", "a/b: no")


@pytest.mark.parametrize("code", [401, 403, 404, 409, 410, 429, 500, 503])
def test_what_may_pass_is_transient(code: int) -> None:
    error = errors.from_response(code, status(message="no"), retry_after_s=3)
    leaf = errors.to_leaf(error, "Failed")
    assert isinstance(leaf, TransientError)
    assert leaf.retry_after_s == 3


def test_no_answer_is_transient() -> None:
    assert isinstance(errors.to_leaf(errors.Unreachable("away"), "Failed"), TransientError)
