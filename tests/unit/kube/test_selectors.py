"""Label selectors as text."""

from __future__ import annotations

import pytest

from kube import selectors

LABELS = {"app": "web", "tier": "front", "n": "5", "example.com/empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app", True),
        ("none", False),
        ("!app", False),
        ("!none", True),
        ("app=web", True),
        ("app == web", True),
        ("app=db", False),
        ("app!=db", True),
        ("none!=db", True),
        ("app!=web", False),
        ("app=web,tier=front", True),
        ("app=web, tier=back", False),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("none in (db)", False),
        ("app notin (db)", True),
        ("none notin (db)", True),
        ("app notin (web)", False),
        ("n>4", True),
        ("n > 5", False),
        ("n<6", True),
        ("app>4", False),
        ("example.com/empty=", True),
        ("example.com/empty in ()", True),
        ("inside=web", False),
        (" app = web , !none ", True),
    ],
)
def test_selector_matches_as_kubernetes_does(text: str, matches: bool) -> None:
    assert selectors.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text", ["=web", "app=web,", "app in web", "a b", "app in (a", "-a", ",", "a=$"]
)
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unable to parse label selector"):
        selectors.parse(text)
