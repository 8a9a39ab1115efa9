"""Arguments as clients send them, and what they are told when they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_server import catalogue, tool

TOOLS = {each.name: each for each in catalogue.ALL}


def decoded(tool_name: str, /, **given: Any) -> Any:
    return TOOLS[tool_name].decode(given)


def test_numbers_and_flags_may_come_as_text_or_as_whole_floats() -> None:
    logs = {"pod_name": "web-1", "container_name": "app", "pod_namespace": "shop"}

    found = decoded("get_kubernetes_logs", **logs, limit=20.0, previous="true")
    told = decoded("get_kubernetes_logs", **logs, limit="20")

    assert (found.limit, found.previous) == (20, True)
    assert told.limit == 20


@pytest.mark.parametrize(
    "name",
    [
        "delete_kubernetes_resource",
        "suspend_flux_reconciliation",
        "reconcile_flux_source",
        "reconcile_flux_kustomization",
        "explain_not_ready",
        "plan_change",
        "rollback_hint",
        "wait_for",
    ],
)
def test_empty_name_is_refused_since_it_would_mean_all_objects(name: str) -> None:
    known = {"kind": "ks", "namespace": "shop", "apiVersion": "v1"}
    fields = tool.schema(TOOLS[name].arguments)["properties"]
    given = {key: value for key, value in known.items() if key in fields}

    with pytest.raises(ValueError, match="name is required"):
        decoded(name, **given, name="")


@pytest.mark.parametrize("bad", ["..", ".", "a/b", "../../namespaces/shop", "a%2Fb"])
@pytest.mark.parametrize("argument", ["name", "namespace"])
def test_name_that_leads_somewhere_else_is_refused(argument: str, bad: str) -> None:
    given = {"apiVersion": "v1", "kind": "Pod", "name": "a", "namespace": "b"} | {argument: bad}

    with pytest.raises(ValueError, match=f"{argument}: .* is no name of anything"):
        decoded("delete_kubernetes_resource", **given)


@pytest.mark.parametrize("good", ["web", "web.1", "system:controller", "a..b", "kube-root-ca.crt"])
def test_every_name_of_an_object_is_accepted(good: str) -> None:
    assert decoded("get_tree", kind="ks", name=good).name == good


def test_context_may_be_called_anything() -> None:
    name = "arn:aws:eks:eu-west-1:1234:cluster/home"

    assert decoded("set_kubeconfig_context", name=name).name == name


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("trace", {"kind": "ks", "name": ["a"]}, "Expected `str`"),
        ("trace", {"kind": "ks", "name": None}, r"Expected `str`, got `null` - at `\$.name`"),
        ("get_events", {"type": "Loud"}, "Invalid enum value 'Loud'"),
        ("search_flux_docs", {"query": "a", "format": "long"}, "Invalid enum value 'long'"),
        ("dependency_graph", {"format": "svg"}, "Invalid enum value 'svg'"),
        ("get_events", {"limit": -1}, r"Expected `int` >= 0 - at `\$.limit`"),
        ("get_kubernetes_resources", {"apiVersion": "v1", "kind": ""}, "kind is required"),
        ("get_kubernetes_resources", {"fields": "spec"}, "Expected `array`, got `str`"),
        ("get_tree", {"kind": "ks", "names": "a"}, "there is no argument 'names', did you mean"),
        ("get_tree", {"xyz": "red"}, "there is no argument 'xyz'; get_tree takes"),
    ],
)
def test_wrong_argument_is_named_with_what_the_tool_takes(
    name: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        decoded(name, **given)

    assert f"{name} takes [cluster]" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("get_kubernetes_resources", {"apiVersion": "v1", "kind": "Pod", "limit": 0}),
        ("get_kubernetes_resources", {"apiVersion": "v1", "kind": "Pod", "limit": 100000}),
        ("get_kubernetes_metrics", {"pod_namespace": "shop", "limit": 0}),
        ("search_flux_docs", {"query": "a", "limit": 0, "format": ""}),
    ],
)
def test_limits_that_the_operators_server_takes_are_taken(name: str, given: dict[str, Any]) -> None:
    assert decoded(name, **given).limit == given["limit"]


def test_short_text_is_left_alone_and_a_long_one_cut_at_a_line_with_advice() -> None:
    lines = "\n".join(f"line {number}" for number in range(5000))

    cut = tool.shortened(lines, "ask for less")

    assert tool.shortened("short", "ask for less") == "short"
    assert len(cut) < tool.MOST_CHARACTERS + 100
    assert cut.splitlines()[-2].startswith("line ")
    assert cut.endswith("more characters: ask for less")


def test_text_of_one_line_is_cut_too() -> None:
    assert len(tool.shortened("x" * 50_000, "no")) < tool.MOST_CHARACTERS + 100


@pytest.mark.parametrize("each", catalogue.ALL, ids=lambda each: each.name)
def test_every_argument_and_every_tool_is_explained(each: tool.Tool[Any]) -> None:
    described = tool.schema(each.arguments)

    assert len(each.description.splitlines()[0]) <= 100
    assert described["properties"]["cluster"]["default"] == ""
    for name, field in described["properties"].items():
        assert field.get("description"), name
