from __future__ import annotations

import pytest

from inspection import failure
from mcp_server import applying


def test_manifests_come_in_the_order_of_applying() -> None:
    text = """
kind: ConfigMap
apiVersion: v1
metadata: {name: a, namespace: shop}
---
kind: Namespace
apiVersion: v1
metadata: {name: shop}
"""

    assert [each["kind"] for each in applying.parse(text)] == ["Namespace", "ConfigMap"]


def test_list_is_opened() -> None:
    text = """
kind: List
apiVersion: v1
items:
- {kind: ConfigMap, apiVersion: v1, metadata: {name: a}}
- {kind: ConfigMap, apiVersion: v1, metadata: {name: b}}
"""

    assert [each["metadata"]["name"] for each in applying.parse(text)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "yaml_content: "),
        ("", "holds no manifest"),
        ("- 1", "document 1 is no Kubernetes object"),
        ("kind: ConfigMap\napiVersion: v1\nmetadata: {}", "needs apiVersion, kind and metadata"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_number(text: str, message: str) -> None:
    with pytest.raises(failure.UsageError, match=message):
        applying.parse(text)


def test_too_many_at_once_are_refused() -> None:
    one = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n"

    with pytest.raises(failure.UsageError, match="201 objects are too many"):
        applying.parse("---\n".join([one] * 201))
