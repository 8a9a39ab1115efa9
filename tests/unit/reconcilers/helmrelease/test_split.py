"""Objects and hooks, told apart and ordered as Helm does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kube import manifests
from reconcilers.helmrelease import split
from reconcilers.helmrelease.split import Document

if TYPE_CHECKING:
    from kube.helm.record import Hook


def thing(kind: str, name: str = "x", **annotations: str) -> dict[str, Any]:
    """Return an object; ``__`` in the name of an annotation is ``helm.sh/``, ``_`` a dash."""
    notes = {f"helm.sh/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": name, **({"annotations": notes} if notes else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def hook(**annotations: str) -> Hook | None:
    """Return the hook that an object with annotations is; None for one that is left out."""
    _, hooks = split.release([Document("c/templates/h.yaml", thing("Job", **annotations))])
    return hooks[0] if hooks else None


def test_objects_come_in_the_order_in_which_helm_installs_kinds() -> None:
    kinds = ["Widget", "Ingress", "Deployment", "Anvil", "ConfigMap", "Namespace", "Service"]
    manifest, _ = split.release(Document("c/a.yaml", thing(kind)) for kind in kinds)
    found = [each["kind"] for each in manifests.load_all(manifest)]
    assert found == [
        *("Namespace", "ConfigMap", "Service", "Deployment", "Ingress", "Anvil", "Widget")
    ]


def test_objects_of_one_kind_keep_their_order() -> None:
    manifest, _ = split.release(
        Document(f"c/{name}.yaml", thing("ConfigMap", name)) for name in ("b", "a", "c")
    )
    assert [each["metadata"]["name"] for each in manifests.load_all(manifest)] == ["b", "a", "c"]


def test_a_manifest_names_the_template_of_each_object() -> None:
    manifest, _ = split.release([Document("c/templates/a.yaml", thing("ConfigMap"))])
    assert manifest == (
        "---\n# Source: c/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\n"
        "metadata:\n  name: x\n\n"
    )


def test_a_hook_has_what_its_annotations_say() -> None:
    found = hook(
        hook=" Pre-Install, post-upgrade",
        hook_weight="-5",
        hook_delete_policy="hook-succeeded,before-hook-creation",
        hook_output_log_policy="hook-failed",
    )
    assert found is not None
    assert (found.name, found.kind, found.path) == ("x", "Job", "c/templates/h.yaml")
    assert found.events == ("pre-install", "post-upgrade")
    assert found.weight == -5
    assert found.delete_policies == ("hook-succeeded", "before-hook-creation")
    assert found.output_log_policies == ("hook-failed",)
    assert yaml.safe_load(found.manifest)["kind"] == "Job"


@pytest.mark.parametrize(("weight", "number"), [("7", 7), ("+7", 7), ("soon", 0), ("", 0)])
def test_a_weight_that_is_no_number_is_none(weight: str, number: int) -> None:
    found = hook(hook="pre-install", hook_weight=weight)
    assert found is not None
    assert found.weight == number


def test_the_tests_of_helm_2_are_tests() -> None:
    found = hook(hook="test-success")
    assert found is not None
    assert found.is_test


@pytest.mark.parametrize("event", ["crd-install", "test-failure", "sometime", ""])
def test_a_hook_for_no_event_is_left_out(event: str) -> None:
    assert hook(hook=event) is None


def test_hooks_are_no_objects_of_the_release() -> None:
    made = [Document("a", thing("Job", hook="test")), Document("b", thing("Job", "y"))]
    manifest, hooks = split.release(made)
    assert [each["metadata"]["name"] for each in manifests.load_all(manifest)] == ["y"]
    assert [each.name for each in hooks] == ["x"]


def test_documents_come_with_their_template_and_without_helm_s_note_of_it() -> None:
    text = b"""\
apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  annotations:
    postrenderer.helm.sh/postrender-filename: 'c/templates/a.yaml'
---
# nothing
---
apiVersion: v1
kind: List
metadata:
  annotations:
    postrenderer.helm.sh/postrender-filename: c/templates/b.yaml
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: b, annotations: {keep: me}}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
"""
    found = list(split.documents(text))
    assert [each.path for each in found] == [
        *("c/templates/a.yaml", "c/templates/b.yaml", "c/templates/b.yaml")
    ]
    metadata = [each.object["metadata"] for each in found]
    assert metadata == [{"name": "a"}, {"name": "b", "annotations": {"keep": "me"}}, {"name": "c"}]


def test_texts_that_read_as_other_types_stay_texts() -> None:
    obj = thing("ConfigMap") | {"data": {"a": "true", "b": "0644", "c": "1e3", "d": "x\ny\n"}}
    manifest, _ = split.release([Document("c", obj)])
    (found,) = manifests.load_all(manifest)
    assert found == obj
