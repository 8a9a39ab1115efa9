"""Setting one value at a path: what ``helm template --set`` of 4.3.1 made of the same text."""

from __future__ import annotations

from typing import Any

import pytest

from reconcilers.helmrelease import setpath

BASE = {"m": {"x": 1, "n": {"y": [1, 2]}}, "l": [1, {"k": "v"}, [5]], "s": "t"}


def fresh() -> dict[str, Any]:
    """Return the values that paths lead into."""
    return {"m": {"x": 1, "n": {"y": [1, 2]}}, "l": [1, {"k": "v"}, [5]], "s": "t"}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("1", 1),
        ("0", 0),
        ("-5", -5),
        ("+5", 5),
        ("-05", -5),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("007", "007"),
        ("00", "00"),
        ("1.5", "1.5"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        (" 5 ", " 5 "),
        ("TRUE", True),
        ("false", False),
        ("Null", None),
        ("", ""),
        ("a=b", "a=b"),
        ("x\\,y", "x,y"),
        ("x\\\\y", "x\\y"),
        ("x\\", "x"),
        ("line\nline", "line\nline"),
        ("[1]", "[1]"),
        ("{}", [""]),
        ("{a,1,true,null}", ["a", 1, True, None]),
        ("{a\\,b,c}", ["a,b", "c"]),
        ("{a=b,c}", ["a=b", "c"]),
        ("'1'", "1"),
        ('"true"', "true"),
        ("\"'both'\"", "both"),
    ],
)
def test_a_value_is_typed_as_helm_types_it(data: str, value: object) -> None:
    values: dict[str, Any] = {}
    setpath.put(values, "a", data)
    assert values == {"a": value}
    assert isinstance(values["a"], bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    ("path", "data", "change"),
    [
        ("a.b.c", "v", {"a": {"b": {"c": "v"}}}),
        ("a", "x,b=2", {"a": "x", "b": 2}),
        ("a", "{a},b=3", {"a": ["a"], "b": 3}),
        ("a", "{a}b=3", {"a": ["a"], "b": 3}),
        ("a\\.b", "1", {"a.b": 1}),
        ("m.x", "2", {"m": {"x": 2, "n": {"y": [1, 2]}}}),
        ("m.n.y[0]", "9", {"m": {"x": 1, "n": {"y": [9, 2]}}}),
        ("m.n.y[3]", "9", {"m": {"x": 1, "n": {"y": [1, 2, None, 9]}}}),
        ("l[1].k", "w", {"l": [1, {"k": "w"}, [5]]}),
        ("l[0].k", "w", {"l": [{"k": "w"}, {"k": "v"}, [5]]}),
        ("l[2][1]", "z", {"l": [1, {"k": "v"}, [5, "z"]]}),
        ("l[1]", "{q}", {"l": [1, ["q"], [5]]}),
        ("a[0].b[1].c", "1", {"a": [{"b": [None, {"c": 1}]}]}),
        ("m.n", "null", {"m": {"x": 1, "n": None}}),
        (".a", "1", {}),
        ("", "1", {}),
    ],
)
def test_a_path_leads_where_helm_s_does(path: str, data: str, change: dict[str, Any]) -> None:
    values = fresh()
    setpath.put(values, path, data)
    assert values == BASE | change


@pytest.mark.parametrize(
    ("path", "data", "complaint"),
    [
        ("a", "x,b", "key 'b' has no value"),
        ("a", "x,b,c=1", r"key 'b' has no value \(cannot end with ,\)"),
        ("a", "{a", "list must terminate with '}'"),
        ("s.a", "1", "unable to parse key: 's' is no map"),
        ("s[0]", "1", "what is indexed is no list"),
        ("l[0][0]", "1", "what is indexed is no list"),
        ("a[x]", "1", "error parsing index"),
        ("a[0", "1", "error parsing index"),
        ("a[-1]", "1", "index -1 is not between 0 and 65536"),
        ("a[65537]", "1", "index 65537 is not between"),
        ("a[0]b", "1", "unexpected data at end of array index"),
        ("a.", "1", "key map 'a' has no value"),
        (".".join("k" * 32), "1", "nested more than 30 levels deep"),
    ],
)
def test_what_breaks_the_syntax_is_refused(path: str, data: str, complaint: str) -> None:
    with pytest.raises(setpath.SetError, match=complaint):
        setpath.put(fresh(), path, data)


def test_literal_data_arrives_unchanged() -> None:
    data = "{a,b}[0]\\n,c=d '"
    values: dict[str, Any] = {}
    setpath.put(values, "a", data, literal=True)
    assert values == {"a": data}


def test_a_complaint_does_not_quote_the_value() -> None:
    with pytest.raises(setpath.SetError) as caught:
        setpath.put({"a": "hunter2"}, "a.b", "hunter3")
    assert "hunter" not in str(caught.value)
