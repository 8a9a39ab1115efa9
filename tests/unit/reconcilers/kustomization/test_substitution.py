"""Substitution in objects: the types that come out, who opts out, and what errors say."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kube import manifests
from reconcilers.kustomization import substitution
from reconcilers.kustomization.manifest import BuildError
from reconcilers.kustomization.variables import Variables


def substitute(text: str, **values: str) -> Any:
    return substitute_all(text, Variables(values, ()))


def substitute_all(text: str, variables: Variables) -> Any:
    return substitution.substitute(manifests.load(text), text.encode(), variables)


def config_map(value: str, metadata: str = "{name: app}") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\ndata:\n  k: {value}\n"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("yes", True),
        ("Y", True),
        ("off", False),
        ("n", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("0123", 83),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("+1", 1),
        ("08", 8),
        ("0999991", 999991),
        ("1e3", 1000),
        ("1.0", 1),
        (".5", 0.5),
        ("12345678901234567890", 12345678901234567890),
        ("1E400", "1E400"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("text", "text"),
    ],
)
def test_the_look_of_a_value_decides_its_type(value: str, wanted: Any) -> None:
    found = substitute(config_map("${v}"), v=value)["data"]["k"]
    assert found == wanted
    assert isinstance(found, bool) == isinstance(wanted, bool)


@pytest.mark.parametrize("text", ["${tagged}", "${q}${v}${q}"])
def test_a_tag_in_the_value_and_quotes_from_a_variable_keep_a_string(text: str) -> None:
    found = substitute(config_map(text), v="123", tagged="!!str 123", q='"')
    assert found["data"]["k"] == "123"


def test_an_escaped_variable_is_left_for_the_child() -> None:
    assert substitute(config_map("$${v} $x"), v="1")["data"]["k"] == "${v} $x"


def test_keys_labels_and_names_are_substituted_too() -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: '${n}-app', labels: {'${n}/x': '${n}'}}\ndata: {'${n}': a}\n"
    )
    found = substitute(text, n="dev")
    assert found["metadata"] == {"name": "dev-app", "labels": {"dev/x": "dev"}}
    assert found["data"] == {"dev": "a"}


def test_a_value_may_bring_its_own_structure() -> None:
    assert substitute(config_map("${v}"), v="[a, {b: 1}]")["data"]["k"] == ["a", {"b": 1}]


@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_a_label_or_an_annotation_opts_out(where: str) -> None:
    key = "kustomize.toolkit.fluxcd.io/substitute"
    text = config_map("${v}", f"{{name: app, {where}: {{{key}: disabled}}}}")
    assert substitute(text, v="1")["data"]["k"] == "${v}"


def test_the_opt_out_is_a_matter_of_letter_case() -> None:
    key = "kustomize.toolkit.fluxcd.io/substitute"
    text = config_map("${v}", f"{{name: app, labels: {{{key}: Disabled}}}}")
    assert substitute(text, v="x")["data"]["k"] == "x"


def test_an_unknown_variable_names_resource_and_variable() -> None:
    with pytest.raises(BuildError) as error:
        substitute(config_map("${other}"), v="1")
    assert str(error.value) == (
        "post build failed for 'ConfigMap.v1.[noGrp]/app': envsubst error: variable substitution "
        'failed: variable not set (strict mode): "other"'
    )


def test_an_unknown_variable_is_empty_where_settings_say_so() -> None:
    assert (
        substitute_all(config_map("a${other}"), Variables({}, (), is_strict=False))["data"]["k"]
        == "a"
    )


@pytest.mark.parametrize("name", ["a.b", "a-b", "1a", "", "a b", "a\n"])
def test_a_name_outside_the_rule_fails_with_the_rule(name: str) -> None:
    with pytest.raises(BuildError) as error:
        substitute_all(config_map("${v}"), Variables({"v": "1", name: "x"}, ()))
    assert f"'{name}' var name is invalid, must match '^[_[:alpha:]]" in str(error.value)


@pytest.mark.parametrize("value", ["a: b: secret", "[secret", "{secret"])
def test_a_value_that_breaks_the_yaml_is_not_quoted_in_the_error(value: str) -> None:
    with pytest.raises(BuildError) as error:
        substitute(config_map("${v}"), v=value)
    assert str(error.value).startswith(
        "post build failed for 'ConfigMap.v1.[noGrp]/app': envsubst error: YAMLToJSON: line "
    )
    assert "secret" not in str(error.value)


def test_an_object_of_a_group_is_called_as_kustomize_calls_it() -> None:
    obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    assert substitution.name_of(obj) == "Deployment.v1.apps/web"


def test_numbers_keep_their_precision() -> None:
    found = substitute(config_map("${v}"), v="0.1")["data"]["k"]
    assert math.isclose(found, 0.1)
