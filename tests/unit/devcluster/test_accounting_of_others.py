"""Requests of one's own, told from those of others."""

from __future__ import annotations

from collections import Counter

import pytest

from devcluster import accounting
from devcluster.accounting import Kind
from devcluster.api import APPLY, MERGE


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (("GET", "/api/v1/namespaces/a/configmaps/b"), Kind("get", "configmaps")),
        (("GET", "/api/v1/namespaces/a/configmaps?labelSelector=x"), Kind("list", "configmaps")),
        (("GET", "/api/v1/namespaces/a"), Kind("get", "namespaces")),
        (("PATCH", "/api/v1/namespaces/a/configmaps/b", MERGE), Kind("patch", "configmaps")),
        (("PATCH", "/api/v1/namespaces/a/configmaps/b?f=1", APPLY), Kind("apply", "configmaps")),
        (("POST", "/apis/apps/v1/namespaces/a/deployments"), Kind("post", "deployments")),
        (
            ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b/status", MERGE),
            Kind("patch", "deployments/status"),
        ),
        (
            ("DELETE", "/apis/apps/v1/namespaces/a/deployments"),
            Kind("deletecollection", "deployments"),
        ),
    ],
)
def test_request_is_counted_as_the_api_server_counts_it(
    request_: tuple[str, ...], kind: Kind
) -> None:
    assert accounting.asked(*request_) == kind


def test_own_requests_are_left_out_once() -> None:
    get, patch = Kind("get", "configmaps"), Kind("patch", "configmaps")

    class Source:
        def take(self) -> Counter[Kind]:
            return Counter({get: 3, patch: 1})

    own = Counter({get: 7})
    others = accounting.OthersTotals(Source(), own)
    own[get] += 2
    assert others.take() == Counter({get: 1, patch: 1})
    assert others.take() == Counter({get: 3, patch: 1})
