"""The small services of the benchmark's crowd."""

from __future__ import annotations

import yaml

from bench.crowd import service
from reconcilers.kustomization import plain


def test_service_is_the_four_objects_that_were_promised() -> None:
    objects = list(yaml.safe_load_all(service("web", "ns")))
    assert [each["kind"] for each in objects] == [
        "ServiceAccount",
        "Service",
        "Deployment",
        "Ingress",
    ]
    assert {each["metadata"]["name"] for each in objects} == {"web"}
    assert {each["metadata"]["namespace"] for each in objects} == {"ns"}
    assert objects[2]["spec"]["replicas"] == 0


def test_another_image_changes_one_object_alone() -> None:
    before = list(yaml.safe_load_all(service("web", "ns")))
    after = list(yaml.safe_load_all(service("web", "ns", "example.com/web:2")))
    changed = [old["kind"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["Deployment"]


def test_service_is_written_as_people_write_it_so_that_no_kustomize_is_needed() -> None:
    assert plain.is_exact(service("web", "ns").encode())
