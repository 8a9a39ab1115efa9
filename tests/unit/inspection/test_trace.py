"""Traces of objects whose owners are in the labels, so that no cluster has to be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from inspection import survey, trace
from tests.support import fluxobjects
from tests.support.fluxobjects import flux, git, kustomization

if TYPE_CHECKING:
    from inspection.survey import Survey

NOBODY: Any = None
"""In place of a client, which nothing here asks for."""


def config_map(owner: str = "", name: str = "a") -> dict[str, Any]:
    labels = {
        "kustomize.toolkit.fluxcd.io/name": owner,
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    }
    metadata = {"name": name, "namespace": "shop", "labels": labels if owner else {}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def steps(found: trace.Trace) -> list[tuple[str, str]]:
    return [(step.role, step.title) for step in found.steps]


async def traced(known: Survey, obj: dict[str, Any]) -> trace.Trace:
    return await trace.of_object(NOBODY, NOBODY, known, obj)


async def test_object_leads_to_its_applier_source_and_commit() -> None:
    known = survey.of("home", [git(), kustomization("apps")])

    found = await traced(known, config_map("apps"))

    assert steps(found) == [
        ("object", "ConfigMap/shop/a"),
        ("applier", "Kustomization/flux-system/apps"),
        ("source", "GitRepository/flux-system/fleet"),
    ]
    assert found.commit == trace.Commit(sha=fluxobjects.SHA)
    assert found.steps[1].path == "./apps"


async def test_origin_of_an_artifact_comes_before_its_own_revision() -> None:
    origin = f"main@sha1:{'a' * 40}"
    known = survey.of("home", [kustomization("apps", lastAppliedOriginRevision=origin)])

    found = await traced(known, config_map("apps"))

    assert found.commit == trace.Commit(sha="a" * 40)


async def test_applier_that_is_gone_is_named() -> None:
    found = await traced(survey.of("home", []), config_map("apps"))

    assert not found.is_managed
    assert (
        found.note == "its labels name Kustomization/flux-system/apps, which is not there any more"
    )


async def test_source_that_is_missing_is_a_step() -> None:
    found = await traced(survey.of("home", [kustomization("apps")]), config_map("apps"))

    assert found.steps[-1].state == "Missing"


async def test_release_leads_through_its_chart_to_the_repository() -> None:
    chart = flux("HelmChart", "shop-web", {"sourceRef": {"kind": "GitRepository", "name": "fleet"}})
    release = flux(
        "HelmRelease",
        "web",
        {"chart": {"spec": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}}}},
        helmChart="flux-system/shop-web",
        history=[{"chartVersion": "1.2.0"}],
    )
    known = survey.of("home", [git(), chart, release])
    obj = config_map()
    obj["metadata"]["labels"] = {
        "helm.toolkit.fluxcd.io/name": "web",
        "helm.toolkit.fluxcd.io/namespace": "flux-system",
    }

    found = await traced(known, obj)

    assert [title.split("/")[0] for _, title in steps(found)] == [
        "ConfigMap",
        "HelmRelease",
        "HelmChart",
        "GitRepository",
    ]
    assert found.commit is None
    assert found.revision == "1.2.0"


async def test_flux_object_that_nobody_applied_leads_to_its_own_source() -> None:
    item = kustomization("apps")

    found = await traced(survey.of("home", [git(), item]), item.raw)

    assert not found.is_managed
    assert steps(found)[-1] == ("source", "GitRepository/flux-system/fleet")
    assert "nothing else applied it" in found.note


async def test_message_of_what_failed_is_told_without_credentials() -> None:
    failed = git(ready="False", message="cannot fetch https://me:geheim@example.com/x.git")

    found = await traced(survey.of("home", [failed, kustomization("apps")]), config_map("apps"))

    assert "geheim" not in str(found)
    assert found.steps[-1].state == "Failed"


@pytest.mark.parametrize(
    ("revision", "sha"),
    [
        (f"main@sha1:{'a' * 40}", "a" * 40),
        (f"sha1:{'a' * 40}", "a" * 40),
        ("main@sha1:abc", ""),
        (f"latest@sha256:{'a' * 64}", ""),
        ("6.5.0", ""),
    ],
)
def test_commit_of_a_revision(revision: str, sha: str) -> None:
    assert trace.sha_of(revision) == sha


# Forward ----------------------------------------------------------------------------------------


async def test_source_is_traced_forward_to_who_takes_its_content() -> None:
    behind = kustomization("behind", "a_b__ConfigMap", lastAppliedRevision="main@sha1:0000")
    broken = kustomization("broken", ready="False", message="token=geheim is wrong")
    other = kustomization("other", source="another")
    known = survey.of("home", [git(), kustomization("apps"), behind, broken, other])

    found = await traced(known, git().raw)

    reached = {each.id.rpartition("/")[2]: each for each in found.reached}
    assert reached.keys() == {"apps", "behind", "broken"}
    assert [reached[name].is_there for name in ("apps", "behind", "broken")] == [True, False, False]
    assert reached["behind"].owns == 1
    assert reached["broken"].message == "token=*** is wrong"


async def test_repository_of_charts_reaches_releases_through_their_charts() -> None:
    template = {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}}
    repository = flux("HelmRepository", "charts", artifact={"revision": "sha256:1"})
    chart = flux(
        "HelmChart",
        "flux-system-web",
        {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "charts"}},
        artifact={"revision": "1.2.0"},
        observedSourceArtifactRevision="sha256:1",
    )
    release = flux(
        "HelmRelease",
        "web",
        {"chart": template},
        helmChart="flux-system/flux-system-web",
        history=[{"chartVersion": "1.1.0"}],
    )
    known = survey.of("home", [release, chart, repository])

    found = await traced(known, repository.raw)

    assert [(each.id.partition("/")[0], each.is_there) for each in found.reached] == [
        ("HelmChart", True),
        ("HelmRelease", False),
    ]


async def test_what_is_no_source_reaches_nobody() -> None:
    known = survey.of("home", [git(), kustomization("apps")])

    assert (await traced(known, kustomization("apps").raw)).reached == ()
    assert (await traced(known, config_map("apps"))).reached == ()
