from __future__ import annotations

from mcp_server.library import Library, Page

PAGES = [
    Page("Kustomization spec", "crd/Kustomization", "- spec.dependsOn: what must be ready first"),
    Page("Receivers", "docs/flux.md", "A webhook wakes sources. Nothing here depends on others."),
    Page("Drift", "docs/flux.md", "drift drift drift of an object is put back"),
]


def found(query: str, limit: int = 5) -> list[str]:
    return [hit.page.title for hit in Library(PAGES).search(query, limit)]


def test_parts_of_a_camel_case_name_are_words_too() -> None:
    assert found("dependsOn")[0] == "Kustomization spec"
    assert found("depends")[0] in {"Kustomization spec", "Receivers"}


def test_word_of_the_title_counts_most() -> None:
    assert found("receiver source")[0] == "Receivers"


def test_plural_and_singular_are_one_word() -> None:
    assert found("drifts") == ["Drift"]
    assert found("kustomizations") == ["Kustomization spec"]


def test_nothing_is_found_for_a_word_that_nobody_uses() -> None:
    assert found("xylophone") == []


def test_limit_holds() -> None:
    assert len(found("spec source drift", limit=2)) == 2
