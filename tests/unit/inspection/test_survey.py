"""What was found in a cluster, and what is said of what was not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api.meta import ObjectRef
from daemon import settings
from inspection import clusters, failure, survey
from inspection.survey import Survey
from tests.support.fluxobjects import git, kustomization

if TYPE_CHECKING:
    from pathlib import Path

    from kube.client import Client

APPS = ObjectRef("home", "Kustomization", "flux-system", "apps")
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"""


def test_object_is_found_by_its_reference() -> None:
    seen = survey.of("home", [kustomization("apps"), git()])

    assert seen.require(APPS).name == "apps"
    assert [each.name for each in seen.of("GitRepository")] == ["fleet"]
    assert seen.get(APPS._replace(name="other")) is None


def test_object_that_is_not_there_is_missing() -> None:
    with pytest.raises(failure.MissingError, match="Kustomization/flux-system/apps is not there"):
        survey.of("home", [git()]).require(APPS)


def test_object_of_a_kind_that_may_not_be_listed_is_not_called_missing() -> None:
    seen = Survey("home", {}, {"Kustomization": "user cannot list"})

    with pytest.raises(failure.DeniedError, match="cannot be seen: user cannot list") as caught:
        seen.require(APPS)
    assert caught.value.status == 1


async def test_every_cluster_has_its_answer_or_its_reason_in_the_order_of_the_settings(
    tmp_path: Path,
) -> None:
    (tmp_path / "closed").write_text(KUBECONFIG)
    (tmp_path / "broken").write_text("a: [")
    loaded = settings.parse(
        "".join(
            f'[[clusters]]\nname = "{name}"\nkubeconfig = "{tmp_path}/{name}"\n'
            for name in ("missing", "closed", "broken")
        ),
        "config.toml",
    )

    async def question(client: Client) -> bytes:
        return await client.get_raw("/version")

    answers = await survey.ask(loaded.clusters, question)

    assert [each.cluster for each in answers] == ["missing", "closed", "broken"]
    assert [each.value for each in answers] == [None] * 3
    for answer, words in zip(
        answers,
        ("there is no kubeconfig", "connection refused", "is not a kubeconfig"),
        strict=True,
    ):
        assert words in answer.error


def test_cluster_is_chosen_by_its_name_and_all_are_meant_by_none() -> None:
    loaded = settings.parse(
        '[[clusters]]\nname = "home"\n[[clusters]]\nname = "work"\n', "config.toml"
    )

    assert [each.name for each in clusters.named(loaded, "")] == ["home", "work"]
    assert [each.name for each in clusters.named(loaded, "work")] == ["work"]
    with pytest.raises(failure.UsageError, match="no cluster is named 'hmoe'; known: home, work"):
        clusters.named(loaded, "hmoe")
    with pytest.raises(failure.UsageError, match=r"my.toml has no \[\[clusters\]\]"):
        clusters.named(settings.parse("", "my.toml"), "", "my.toml")
