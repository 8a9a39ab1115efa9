from __future__ import annotations

import pytest

from cli import failure, kinds
from daemon import kinds as served


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


@pytest.mark.parametrize("words", [["source"], ["source", "helm"], ["pods"]])
def test_unknown_kind_is_refused_with_the_known_ones(words: list[str]) -> None:
    with pytest.raises(failure.UsageError, match="known: source git"):
        kinds.parse(words)
