"""Kinds by the words that agents have for them, found by asking the cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from inspection import failure, served
from tests.support import api
from tests.support.mcpworld import call, named, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.mcpworld import World


def definition(group: str) -> dict[str, Any]:
    """A definition of the kind Gadget in a group."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "shortNames": ["gdg"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


@pytest.fixture(scope="module")
def gadgets(world: World) -> Iterator[World]:
    """The world with a custom kind and one object of it."""
    kubectl = world.cluster.kubectl
    kubectl("apply", "-f", "-", input=json.dumps(definition("tools.example.com")))
    kubectl("wait", "--for=condition=Established", "crd/gadgets.tools.example.com", "--timeout=60s")
    obj = {
        "apiVersion": "tools.example.com/v1",
        "kind": "Gadget",
        "metadata": {"name": "drill", "namespace": world.namespace},
    }
    kubectl("apply", "-f", "-", input=json.dumps(obj))
    yield world
    kubectl("delete", "crd", "gadgets.tools.example.com", "--wait=false")


@pytest.mark.parametrize("word", ["Gadget", "gadget", "gadgets", "gdg", "GADGETS"])
async def test_custom_kind_is_found_by_any_of_its_words(gadgets: World, word: str) -> None:
    _, found = await call(gadgets, "trace", **named(gadgets, word, "drill"))

    assert found["steps"][0]["kind"] == "Gadget"
    assert not found["isManaged"]


async def test_unknown_kind_is_answered_with_the_nearest(gadgets: World) -> None:
    text = await refused(gadgets, "trace", **named(gadgets, "gadgit", "drill"))

    assert text.startswith("[invalid] 'gadgit' names no kind that the cluster serves")
    assert "did you mean Gadget" in text


async def test_kind_that_is_like_no_other_asks_for_its_version(gadgets: World) -> None:
    text = await refused(gadgets, "explain_not_ready", **named(gadgets, "xqzj", "drill"))

    assert "give its API version too" in text


async def test_kind_of_two_groups_asks_which(gadgets: World) -> None:
    kubectl = gadgets.cluster.kubectl
    kubectl("apply", "-f", "-", input=json.dumps(definition("toys.example.com")))
    kubectl("wait", "--for=condition=Established", "crd/gadgets.toys.example.com", "--timeout=60s")
    try:
        text = await refused(gadgets, "trace", **named(gadgets, "gadget", "drill"))
        arguments = named(gadgets, "Gadget", "drill", apiVersion="tools.example.com/v1")
        _, found = await call(gadgets, "trace", **arguments)
    finally:
        kubectl("delete", "crd", "gadgets.toys.example.com")

    assert "tools.example.com/v1, toys.example.com/v1" in text
    assert found["steps"][0]["name"] == "drill"


async def test_all_kinds_are_known_after_two_requests(gadgets: World) -> None:
    async with api.client(gadgets.cluster.kubeconfig) as client:
        words = await served.words(client)
        (pod,) = words["po"]
        with pytest.raises(failure.UsageError, match="did you mean"):
            await served.find(client, "deploymnt")

    assert (pod.gvk.api_version, pod.plural, pod.is_namespaced) == ("v1", "pods", True)
    assert {each.gvk.group for each in words["deployment"]} == {"apps"}
    assert not next(iter(words["node"])).is_namespaced
