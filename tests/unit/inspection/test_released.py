from __future__ import annotations

from typing import Any

import pytest

from inspection import released

WEB = {"name": "web", "image": "registry.example/web:1"}
INIT = {"name": "migrate", "image": "registry.example/migrate:1"}


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Pod", "spec": {"containers": [WEB], "initContainers": [INIT]}},
        {
            "kind": "Deployment",
            "spec": {"template": {"spec": {"containers": [WEB], "initContainers": [INIT]}}},
        },
        {
            "kind": "CronJob",
            "spec": {
                "jobTemplate": {
                    "spec": {"template": {"spec": {"containers": [WEB], "initContainers": [INIT]}}}
                }
            },
        },
    ],
    ids=lambda body: body["kind"],
)
def test_images_are_found_wherever_a_kind_has_its_containers(body: dict[str, Any]) -> None:
    assert list(released.images(body)) == ["registry.example/web:1", "registry.example/migrate:1"]


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "ConfigMap", "data": {"a": "b"}},
        {"kind": "Odd", "spec": "text"},
        {"kind": "Odd", "spec": {"containers": "text", "template": None}},
        {"kind": "Odd", "spec": {"containers": [None, {"name": "a"}, {"image": ""}]}},
    ],
)
def test_objects_without_containers_have_no_images(body: dict[str, Any]) -> None:
    assert not list(released.images(body))
