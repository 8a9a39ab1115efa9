"""Definitions are extended and never lose anything."""

from __future__ import annotations

from typing import Any

from kube import crds


def version(
    name: str, *, storage: bool = True, served: bool = True, **fields: Any
) -> dict[str, Any]:
    schema = {"type": "object", "properties": fields}
    return {
        "name": name,
        "served": served,
        "storage": storage,
        "schema": {"openAPIV3Schema": schema},
    }


def spec(*versions: dict[str, Any]) -> dict[str, Any]:
    return {"group": "example.org", "versions": list(versions)}


TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def obj(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


def fields(spec: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [version for version in spec["versions"] if version["name"] == name]
    properties: dict[str, Any] = found["schema"]["openAPIV3Schema"]["properties"]
    return properties


def test_nothing_is_missing_from_itself() -> None:
    same = spec(version("v1", spec=obj(a=TEXT)))
    assert list(crds.missing(same, same)) == []


def test_missing_fields_are_named_by_their_path() -> None:
    ours = spec(version("v1", spec=obj(a=TEXT, list={"type": "array", "items": obj(b=TEXT)})))
    live = spec(version("v1", spec=obj(list={"type": "array", "items": obj(c=TEXT)})))
    assert list(crds.missing(ours, live)) == ["v1.spec.a", "v1.spec.list.b"]


def test_missing_and_unserved_versions_are_named() -> None:
    ours = spec(version("v1"), version("v2", storage=False))
    live = spec(version("v1", served=False), version("v1beta1", storage=False))
    assert list(crds.missing(ours, live)) == ["v1 (not served)", "v2"]


def test_open_schema_lacks_nothing() -> None:
    live = spec(
        version("v1", spec={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    )
    assert list(crds.missing(spec(version("v1", spec=obj(a=TEXT))), live)) == []


def test_extended_definition_has_the_fields_of_both() -> None:
    ours = spec(version("v1", spec=obj(a=TEXT, deep=obj(x=TEXT))))
    live = spec(version("v1", spec=obj(b=NUMBER, deep=obj(y=NUMBER)), status=obj(s=TEXT)))
    extended = crds.extend(ours, live)
    assert fields(extended, "v1") == {
        "spec": obj(a=TEXT, b=NUMBER, deep=obj(x=TEXT, y=NUMBER)),
        "status": obj(s=TEXT),
    }
    assert list(crds.missing(ours, extended)) == list(crds.missing(live, extended)) == []


def test_ours_counts_where_both_say_something_else() -> None:
    ours = spec(version("v1", a=TEXT | {"description": "new"}))
    extended = crds.extend(ours, spec(version("v1", a=TEXT | {"description": "old"})))
    assert fields(extended, "v1")["a"]["description"] == "new"


def test_old_versions_stay_and_storage_moves_to_the_newest() -> None:
    live = spec(version("v1beta2", a=TEXT), version("v1beta10", storage=False))
    extended = crds.extend(spec(version("v1", b=TEXT)), live)
    assert {each["name"]: each["storage"] for each in extended["versions"]} == {
        "v1beta2": False,
        "v1beta10": False,
        "v1": True,
    }
    assert fields(extended, "v1beta2") == {"a": TEXT}


def test_storage_does_not_move_back_from_a_newer_version() -> None:
    live = spec(version("v1", storage=False), version("v2", z=TEXT))
    extended = crds.extend(spec(version("v1", a=TEXT)), live)
    assert {each["name"]: each["storage"] for each in extended["versions"]} == {
        "v1": False,
        "v2": True,
    }


def test_conversion_and_names_of_the_live_definition_stay() -> None:
    live = spec(version("v1")) | {"conversion": {"strategy": "Webhook"}}
    assert crds.extend(spec(version("v1", a=TEXT)), live)["conversion"] == {"strategy": "Webhook"}


def test_unknown_fields_stay_preserved() -> None:
    live = spec(version("v1", spec=obj() | {"x-kubernetes-preserve-unknown-fields": True}))
    extended = crds.extend(spec(version("v1", spec=obj(a=TEXT))), live)
    assert fields(extended, "v1")["spec"]["x-kubernetes-preserve-unknown-fields"] is True


def test_map_stays_a_map() -> None:
    mapping = {"type": "object", "additionalProperties": TEXT}
    extended = crds.extend(
        spec(version("v1", labels=obj(a=TEXT))), spec(version("v1", labels=mapping))
    )
    assert fields(extended, "v1")["labels"] == mapping


def test_items_of_lists_and_values_of_maps_are_extended() -> None:
    ours = spec(
        version(
            "v1", l={"type": "array", "items": obj(a=TEXT)}, m={"additionalProperties": obj(a=TEXT)}
        )
    )
    live = spec(
        version(
            "v1", l={"type": "array", "items": obj(b=TEXT)}, m={"additionalProperties": obj(b=TEXT)}
        )
    )
    extended = fields(crds.extend(ours, live), "v1")
    assert extended["l"]["items"] == obj(a=TEXT, b=TEXT)
    assert extended["m"]["additionalProperties"] == obj(a=TEXT, b=TEXT)
