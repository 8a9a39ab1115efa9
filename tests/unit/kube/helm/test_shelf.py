"""What helm finds on a shelf, and what becomes of what it writes."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from kube.helm import record
from kube.helm.shelf import Shelf

if TYPE_CHECKING:
    from kube.helm.record import Record

NAME = "sh.helm.release.v1.demo.v2"


def revision(version: int, status: str) -> Record:
    body = {"name": "demo", "namespace": "apps", "version": version, "info": {"status": status}}
    return record.parse(json.dumps(body).encode())


@pytest.fixture
def shelf() -> Shelf:
    return Shelf([revision(1, record.SUPERSEDED), revision(2, record.DEPLOYED)])


def found(shelf: Shelf, selector: str) -> list[str]:
    status, body = shelf.answer("GET", "", f"labelSelector={selector}")
    assert status == 200
    return [each["metadata"]["name"] for each in json.loads(body)["items"]]


def test_records_are_found_by_their_labels(shelf: Shelf) -> None:
    assert len(found(shelf, "name%3Ddemo%2Cowner%3Dhelm")) == 2
    assert found(shelf, "name%3Ddemo%2Cowner%3Dhelm%2Cstatus%3Ddeployed") == [NAME]
    assert found(shelf, "name%3Dother%2Cowner%3Dhelm") == []


def test_a_record_is_found_whole_by_its_name(shelf: Shelf) -> None:
    status, body = shelf.answer("GET", NAME, "")
    assert status == 200
    secret: dict[str, Any] = json.loads(body)
    assert secret["type"] == "helm.sh/release.v1"
    kept = record.decode(base64.b64decode(secret["data"]["release"]), secret["metadata"]["labels"])
    assert (kept.version, kept.status) == (2, record.DEPLOYED)


def test_a_record_that_is_not_there_is_told_as_the_server_does(shelf: Shelf) -> None:
    status, body = shelf.answer("GET", "sh.helm.release.v1.demo.v9", "")
    assert (status, json.loads(body)["reason"]) == (404, "NotFound")


@pytest.mark.parametrize(
    ("method", "name", "status"),
    [("POST", "", 201), ("PUT", NAME, 200), ("DELETE", NAME, 200)],
)
def test_what_is_written_is_taken_and_forgotten(
    shelf: Shelf, method: str, name: str, status: int
) -> None:
    before = shelf.answer("GET", "", "")
    assert shelf.answer(method, name, "").status == status
    assert shelf.answer("GET", "", "") == before
