"""Which of helm's requests go elsewhere than they say."""

from __future__ import annotations

import pytest

from kube.helm.relay import Move

MOVE = Move("target", "store")
SECRETS = "/api/v1/namespaces/target/secrets"
STORED = "/api/v1/namespaces/store/secrets"
RECORD = b'k8s\x00\n\x0c\n\x02v1\x12\x06Secret\x12"helm.sh/release.v1'


@pytest.mark.parametrize(
    ("method", "target", "body", "wanted"),
    [
        (
            "GET",
            f"{SECRETS}?labelSelector=name%3Dapp%2Cowner%3Dhelm",
            b"",
            f"{STORED}?labelSelector=name%3Dapp%2Cowner%3Dhelm",
        ),
        (
            "GET",
            f"{SECRETS}/sh.helm.release.v1.app.v1",
            b"",
            f"{STORED}/sh.helm.release.v1.app.v1",
        ),
        ("PUT", f"{SECRETS}/sh.helm.release.v1.app.v1", RECORD, None),
        ("DELETE", f"{SECRETS}/sh.helm.release.v1.app.v1", b"", None),
        ("POST", SECRETS, RECORD, STORED),
        ("POST", SECRETS, b"a Secret of the chart", SECRETS),
        ("GET", f"{SECRETS}/password", b"", f"{SECRETS}/password"),
        ("GET", f"{SECRETS}?labelSelector=app%3Dhelm", b"", f"{SECRETS}?labelSelector=app%3Dhelm"),
        ("GET", "/api/v1/namespaces/other/secrets?labelSelector=owner%3Dhelm", b"", ""),
        ("GET", "/api/v1/namespaces/target/configmaps", b"", ""),
        ("GET", "/api/v1/secrets?labelSelector=owner%3Dhelm", b"", ""),
    ],
)
def test_records_go_to_where_they_are_kept_and_nothing_else_does(
    method: str, target: str, body: bytes, wanted: str | None
) -> None:
    moved = target.replace(SECRETS, STORED) if wanted is None else wanted or target
    assert MOVE.target(method, target, body) == moved


def test_nothing_moves_where_records_are_in_the_namespace_of_the_release() -> None:
    same = Move("target", "target")
    assert same.target("POST", SECRETS, RECORD) == SECRETS


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("fieldManager=helm&force=true", "fieldManager=helm-controller&force=true"),
        ("force=true&fieldManager=helm", "force=true&fieldManager=helm-controller"),
        ("fieldManager=helm-diff", "fieldManager=helm-diff"),
        ("notfieldManager=helm", "notfieldManager=helm"),
    ],
)
def test_writes_carry_our_field_manager(query: str, wanted: str) -> None:
    path = "/apis/apps/v1/namespaces/target/deployments/web"
    assert MOVE.target("PATCH", f"{path}?{query}", b"") == f"{path}?{wanted}"


@pytest.mark.parametrize(
    ("method", "target", "body", "name"),
    [
        ("GET", f"{SECRETS}?labelSelector=owner%3Dhelm", b"", ""),
        ("POST", f"{SECRETS}?fieldManager=helm", RECORD, ""),
        ("PUT", f"{SECRETS}/sh.helm.release.v1.app.v2", RECORD, "sh.helm.release.v1.app.v2"),
        ("POST", SECRETS, b"a Secret of the chart", None),
        ("GET", f"{SECRETS}/password", b"", None),
        ("GET", "/api/v1/namespaces/other/secrets?labelSelector=owner%3Dhelm", b"", None),
    ],
)
def test_requests_for_records_are_known(
    method: str, target: str, body: bytes, name: str | None
) -> None:
    assert Move("target", "target").record(method, target, body) == name
