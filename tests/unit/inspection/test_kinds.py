from __future__ import annotations

import pytest

from daemon import kinds as served
from inspection import failure, kinds


@pytest.mark.parametrize(
    ("words", "kind", "names"),
    [
        (["source", "git", "fleet"], served.GIT_REPOSITORY, ["fleet"]),
        (["sources", "git"], served.GIT_REPOSITORY, []),
        (["kustomization", "apps"], served.KUSTOMIZATION, ["apps"]),
        (["ks", "apps", "infra"], served.KUSTOMIZATION, ["apps", "infra"]),
        (["Receivers"], served.RECEIVER, []),
        (["instance", "flux"], served.INSTANCE, ["flux"]),
    ],
)
def test_words_of_the_flux_cli_name_kinds(
    words: list[str], kind: served.Kind, names: list[str]
) -> None:
    assert kinds.parse(words) == (kind, names)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["source"], "name a kind: GitRepository"),
        (["kustomisation"], r"did you mean kustomization \(Kustomization\)"),
        (["pods"], "known: FluxInstance, GitRepository"),
    ],
)
def test_unknown_kind_is_refused_with_the_nearest_ones(words: list[str], hint: str) -> None:
    with pytest.raises(failure.UsageError, match=hint):
        kinds.parse(words)


def test_name_may_follow_a_slash() -> None:
    assert kinds.parse(["ks/apps"]) == (served.KUSTOMIZATION, ["apps"])


@pytest.mark.parametrize("kind", served.ALL, ids=lambda kind: kind.name)
def test_every_kind_of_the_registry_is_found_by_all_its_names(kind: served.Kind) -> None:
    for word in (kind.name, kind.type.PLURAL, *kind.type.DISPLAY.short_names):
        assert kinds.find(word) is kind
