"""HelmCharts on a real API server: what becomes an artifact, what is said, and what it costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from api.charts import HelmChart, HelmRepository
from kube import manifests
from runtime.errors import TerminalError, TransientError, WaitingError
from tests.support import chartserver, helming
from tests.support.chartsource import CHART, GIT, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.chartserver import ChartServer
    from tests.support.reconciling import Desk

IN_GIT = helming.below("charts/web", helming.chart())


@pytest.fixture
async def server() -> AsyncIterator[ChartServer]:
    async with chartserver.running() as each:
        each.publish(helming.chart())
        yield each


@pytest.fixture
def world(desk: Desk, server: ChartServer, namespace: str) -> World:
    return World(desk, server, namespace)


async def test_chart_of_a_repository_is_stored_as_it_is(world: World) -> None:
    await world.repository()
    await world.chart(version="1.x")
    await world.reconcile(HelmRepository)
    result = await world.reconcile()
    assert result.requeue_after_s == 60
    pulled = ("True", "ChartPullSucceeded", "pulled 'web' chart with version '1.0.0'")
    assert world.conditions() == {"Ready": pulled, "ArtifactInStorage": pulled}
    folder = f"helmchart/{world.namespace}/{CHART}"
    artifact, status = world.artifact(), world.status()
    assert (artifact["path"], artifact["revision"]) == (f"{folder}/web-1.0.0.tgz", "1.0.0")
    assert status["url"] == f"http://127.0.0.1:1/{folder}/latest.tar.gz"
    assert status["observedChartName"] == "web"
    revision = world.artifact(HelmRepository)["revision"]
    assert status["observedSourceArtifactRevision"] == revision
    assert "observedValuesFiles" not in status
    content = await asyncio.to_thread(world.content)
    assert content == world.server.files["web-1.0.0.tgz"]
    assert world.events[-1] == pulled[1:]
    assert world.desk.events[-1].metadata == {
        "source.toolkit.fluxcd.io/revision": "1.0.0",
        "source.toolkit.fluxcd.io/digest": artifact["digest"],
    }


async def test_unchanged_chart_costs_nothing_and_a_new_one_a_patch(world: World) -> None:
    await world.repository()
    await world.chart(version="1.x")
    await world.run()
    requests = len(world.server.requests)
    with world.desk.counting() as counts:
        await world.reconcile()
    assert counts == {"get": 1}  # by which the test itself looks at the object
    assert len(world.server.requests) == requests
    request = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}
    await world.desk.patch(HelmChart, world.namespace, CHART, request)
    await world.reconcile()
    told = "artifact up-to-date with remote revision: '1.0.0'"
    assert world.events[-1] == ("ArtifactUpToDate", told)
    assert world.status()["lastHandledReconcileAt"] == "now"
    world.server.publish(helming.chart(version="1.1.0"))
    world.server.publish(helming.chart(version="2.0.0"))
    await world.reconcile(HelmRepository)
    with world.desk.counting() as counts:
        await world.reconcile()
    assert counts == {"get": 1, "patch": 1}
    assert world.artifact()["revision"] == "1.1.0"


async def test_values_files_of_a_pulled_chart_become_its_values(world: World) -> None:
    merged = {"values-a.yaml": "image: {tag: a}\n", "values-b.yaml": "image: {pull: never}\n"}
    world.server.publish(helming.chart(version="2.0.0") | merged)
    await world.repository()
    files = ["values.yaml", "values-a.yaml", "values-none.yaml", "values-b.yaml"]
    await world.chart(valuesFiles=files)
    await world.reconcile(HelmRepository)
    text = await world.fails(TerminalError)
    assert text == (
        "values files merge error: failed to merge chart values: no values file found at path "
        "'values-none.yaml'"
    )
    assert world.conditions()["BuildFailed"] == ("True", "ValuesFilesError", text)
    assert world.conditions()["Stalled"] == ("True", "ValuesFilesError", text)
    await world.chart(valuesFiles=files, ignoreMissingValuesFiles=True)
    await world.reconcile()
    files.remove("values-none.yaml")
    said = (
        "packaged 'web' chart with version '2.0.0+2' and merged values files "
        "[values.yaml values-a.yaml values-b.yaml]"
    )
    assert world.conditions()["Ready"] == ("True", "ChartPackageSucceeded", said)
    assert world.status()["observedValuesFiles"] == files
    packed = await world.packed()
    assert manifests.load(packed["web/values.yaml"]) == {
        "replicas": 1,
        "image": {"tag": "a", "pull": "never"},
    }
    assert manifests.load(packed["web/Chart.yaml"])["version"] == "2.0.0+2"
    with world.desk.counting() as counts:
        await world.reconcile()
    assert counts == {"get": 1}
    assert world.conditions()["Ready"][2] == said


async def test_chart_in_git_is_packed(world: World) -> None:
    await world.git(IN_GIT)
    await world.chart_in_git("./charts/web/")
    await world.reconcile()
    packaged = ("True", "ChartPackageSucceeded", "packaged 'web' chart with version '1.0.0'")
    assert world.conditions() == {"Ready": packaged, "ArtifactInStorage": packaged}
    assert set(await world.packed()) == {f"web/{path}" for path in helming.chart()}
    assert world.status()["observedSourceArtifactRevision"] == f"main@sha1:{'1' * 40}"


async def test_chart_in_git_is_packed_again_for_its_version_alone(world: World) -> None:
    await world.git(IN_GIT)
    await world.chart_in_git()
    await world.reconcile()
    first = world.artifact()
    await world.git(IN_GIT | {"charts/web/values.yaml": "replicas: 2\n"}, "2" * 40)
    await world.reconcile()
    assert world.artifact() == first
    assert world.status()["observedSourceArtifactRevision"] == f"main@sha1:{'2' * 40}"
    await world.git(helming.below("charts/web", helming.chart(version="1.0.1")), "3" * 40)
    await world.reconcile()
    assert world.artifact()["revision"] == "1.0.1"


async def test_each_revision_makes_a_chart_where_that_is_asked_for(world: World) -> None:
    values = {"envs/a.yaml": "replicas: 3\n"}
    await world.git(IN_GIT | values, "abcdef0123456789" + "0" * 24)
    await world.chart_in_git(reconcileStrategy="Revision")
    await world.reconcile()
    assert world.artifact()["revision"] == "1.0.0+abcdef012345"
    await world.chart_in_git(reconcileStrategy="Revision", valuesFiles=["envs/a.yaml"])
    await world.reconcile()
    assert world.artifact()["revision"] == "1.0.0+abcdef012345.2"
    assert manifests.load((await world.packed())["web/values.yaml"]) == {"replicas": 3}


async def test_chart_in_a_bucket_is_packed(world: World) -> None:
    await world.bucket(IN_GIT, "fedcba9876543210" + "0" * 48)
    source = {"kind": "Bucket", "name": GIT}
    await world.chart(chart="charts/web", sourceRef=source, reconcileStrategy="Revision")
    await world.reconcile()
    assert world.artifact()["revision"] == "1.0.0+fedcba987654"
    assert world.status()["observedSourceArtifactRevision"].startswith("sha256:fedcba9876543210")


async def test_dependencies_are_brought(world: World) -> None:
    world.server.basic = ("ada", "secret")
    world.server.publish(helming.chart("far", "1.5.0"), "far")
    world.server.publish(helming.chart("far", "1.6.0"), "far")
    await world.secret("login", {"username": "ada", "password": "secret"})
    await world.repository(url=f"{world.server.url}/", secretRef={"name": "login"})
    await world.reconcile(HelmRepository)
    wanted = {
        "Chart.yaml": f"""\
apiVersion: v2
name: web
version: 1.0.0
dependencies:
- {{name: held, version: 1.x, repository: 'https://nowhere.invalid'}}
- {{name: near, version: ^0.1.0, repository: 'file://../near'}}
- {{name: far, version: 1.x, repository: '{world.server.url}', alias: away}}
- {{name: far, version: 1.x, repository: '{world.server.url}', alias: other}}
- {{name: far, version: 1.x, repository: '{world.server.url}', alias: again}}
""",
        "Chart.lock": f"""\
dependencies:
- {{name: held, version: 1.0.0, repository: 'https://nowhere.invalid'}}
- {{name: near, version: 0.1.0, repository: 'file://../near'}}
- {{name: far, version: 1.5.0, repository: '{world.server.url}', alias: away}}
- {{name: far, version: 1.6.0, repository: '{world.server.url}', alias: other}}
- {{name: far, version: 1.5.0, repository: '{world.server.url}', alias: again}}
digest: sha256:0
generated: "2026-01-02T03:04:05Z"
""",
    }
    await world.git(
        IN_GIT
        | helming.below("charts/web", wanted)
        | helming.below("charts/web/charts/held", helming.chart("held"))
        | helming.below("charts/near", helming.chart("near", "0.1.0"))
    )
    await world.chart_in_git()
    await world.reconcile()
    packed = await world.packed()
    versions = {
        path.split("/")[2]: manifests.load(content)["version"]
        for path, content in packed.items()
        if path.startswith("web/charts/") and path.endswith("/Chart.yaml")
    }
    assert versions == {"held": "1.0.0", "near": "0.1.0", "far": "1.5.0", "far-1.6.0": "1.6.0"}
    assert ("ResolvedDependencies", "resolved 4 chart dependencies") in world.events
    folder = world.desk.context.data_dir
    (folder / "web.tgz").write_bytes(await asyncio.to_thread(world.content))
    rendered = await asyncio.to_thread(
        lambda: helming.helm("template", "r", folder / "web.tgz", home=folder / "home")
    )
    sources = {line for line in rendered.splitlines() if line.startswith("# Source: ")}
    below = [f"charts/{each}/" for each in ("held", "near", "away", "other", "again")]
    assert sources == {f"# Source: web/{path}templates/map.yaml" for path in ("", *below)}


async def test_dependency_that_is_not_there_is_told(world: World) -> None:
    for number, (dependency, said) in enumerate(
        [
            ("file://../no", "no chart found at '/charts/no' (reference 'file://../no')"),
            ("file://../../../etc", "no chart found at '/etc'"),
            ("", "no chart found at '/charts/web/charts/dep' (reference '')"),
            ("@mine", "aliased repository dependency is not supported: @mine"),
            ("ftp://h", "invalid dependency repository URL: ftp://h"),
            ("file://../near", "can't get a valid version for constraint '9.x'"),
            (world.server.url, "no chart name found"),
        ]
    ):
        listed = f"- {{name: dep, version: 9.x, repository: '{dependency}'}}\n"
        metadata = f"apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n{listed}"
        await world.git(
            IN_GIT
            | {"charts/web/Chart.yaml": metadata}
            | helming.below("charts/near", helming.chart("dep")),
            f"{number:040}",
        )
        await world.chart_in_git()
        text = await world.fails()
        where = "local" if dependency.startswith("file:") or not dependency else "remote"
        assert text.startswith(f"dependency build error: failed to add {where} dependency 'dep': ")
        assert said in text
        assert world.conditions()["BuildFailed"][:2] == ("True", "DependencyBuildError")


async def test_chart_that_no_repository_has_stalls(world: World) -> None:
    await world.repository()
    await world.reconcile(HelmRepository)
    for chart, version, said in (
        ("Web", "*", "invalid chart name 'Web'"),
        ("nope", "*", "no chart name found"),
        ("web", ">9", "no 'web' chart with version matching '>9' found"),
        ("web", "a b", 'improper constraint: "a b"'),
    ):
        await world.chart(chart=chart, version=version)
        text = await world.fails(TerminalError)
        assert text.startswith("invalid chart reference: ")
        assert said in text
        for type_ in ("Stalled", "FetchFailed"):
            assert world.conditions()[type_] == ("True", "InvalidChartReference", text)
        generation = world.live[HelmChart]["metadata"]["generation"]
        assert world.status()["observedGeneration"] == generation


async def test_path_that_is_not_in_git_stalls_until_it_is(world: World) -> None:
    await world.git(IN_GIT | {"docs/a.md": "text", "bad/Chart.yaml": "name: [a"})
    for path, said in (
        ("charts/nope", "stat charts/nope: no such file or directory"),
        ("docs", "open docs/Chart.yaml: no such file or directory"),
        ("../../docs/a.md", "the chart is no gzipped archive"),
        ("bad", "cannot load Chart.yaml: line 2"),
    ):
        await world.chart_in_git(path)
        text = await world.fails(TerminalError)
        assert text.startswith(f"invalid chart reference: {said}")
    await world.chart_in_git("charts/web")
    await world.reconcile()
    assert set(world.conditions()) == {"Ready", "ArtifactInStorage"}


async def test_packed_chart_in_git_stays_the_file_it_is(world: World) -> None:
    content = helming.packed(helming.chart(version="3.0.0"))
    await world.git({"web.tgz": content})
    await world.chart_in_git("web.tgz")
    await world.reconcile()
    assert world.conditions()["Ready"][2] == "pulled 'web' chart with version '3.0.0'"
    assert await asyncio.to_thread(world.content) == content


async def test_source_that_is_not_there_yet_is_waited_for(world: World) -> None:
    await world.chart()
    text = await world.fails(TransientError)
    assert world.conditions()["FetchFailed"] == ("True", "SourceUnavailable", text)
    await world.repository()
    text = await world.fails(WaitingError)
    assert text == "no artifact available for HelmRepository source 'charts'"
    assert world.conditions()["Ready"] == ("False", "NoSourceArtifact", text)
    told = world.desk.events[-1]
    assert (told.reason, told.severity, told.is_trace) == ("NoSourceArtifact", "info", True)
    await world.run()
    assert world.conditions()["Ready"][0] == "True"


async def test_refused_download_is_told_as_a_matter_of_credentials(world: World) -> None:
    await world.repository()
    await world.chart()
    await world.reconcile(HelmRepository)
    world.server.answers["web-1.0.0.tgz"] = chartserver.failing(403)
    text = await world.fails()
    assert text == (
        "failed to authenticate with the Helm repository: chart pull error: failed to download "
        f"chart for remote reference: failed to fetch {world.server.url}/web-1.0.0.tgz : "
        "403 Forbidden (it was asked without credentials)"
    )
    assert world.conditions()["FetchFailed"] == ("True", "AuthenticationFailed", text)


async def test_pulled_file_that_is_no_chart_is_told(world: World) -> None:
    world.server.files["web-1.0.0.tgz"] = b"<html>"
    world.server.entries[0]["digest"] = ""
    world.server.write_index()
    await world.repository()
    await world.chart()
    await world.reconcile(HelmRepository)
    text = await world.fails()
    assert text.startswith("chart pull error: the chart is no gzipped archive")
    assert world.conditions()["FetchFailed"][1] == "ChartPullError"


async def test_signatures_are_of_registries_alone(world: World) -> None:
    await world.repository()
    await world.chart(verify={"provider": "cosign", "secretRef": {"name": "keys"}})
    await world.reconcile(HelmRepository)
    text = await world.fails()
    assert text.startswith("chart verification error: not implemented")
    assert world.conditions()["BuildFailed"] == ("True", "ChartVerificationError", text)


async def test_disk_that_refuses_is_told_and_recovered_from(world: World) -> None:
    folder = world.desk.context.storage.root / f"helmchart/{world.namespace}/{CHART}"
    await asyncio.to_thread(helming.write, folder.parent, {CHART: "not a folder"})
    await world.git(IN_GIT)
    await world.chart_in_git()
    text = await world.fails()
    assert text.startswith("unable to archive artifact to storage: ")
    failed = ("True", "ArchiveOperationFailed", text)
    assert world.conditions()["StorageOperationFailed"] == failed
    assert "artifact" not in world.status()
    await asyncio.to_thread(folder.unlink)
    await world.reconcile()
    assert set(world.conditions()) == {"Ready", "ArtifactInStorage"}


async def test_deleted_chart_takes_its_files_along(world: World) -> None:
    await world.git(IN_GIT)
    await world.chart_in_git()
    await world.reconcile()
    await world.desk.delete(HelmChart, world.namespace, CHART)
    await world.reconcile()
    folder = world.desk.context.storage.root / f"helmchart/{world.namespace}"
    assert await asyncio.to_thread(lambda: list(folder.iterdir())) == []
