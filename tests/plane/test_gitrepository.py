"""GitRepositories on a real API server and a real Git server: status, events, and their cost."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from api.source import GitRepository
from devcluster.gitrepo import git as run_git
from devcluster.gitserver import GitServer
from kube.objects import GVK
from reconcilers import steps
from reconcilers.source import reconciler
from runtime.errors import TransientError
from sources import git, gitref
from tests.support import api, disk
from tests.support.gitsource import Source

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.gitrepo import Repo
    from tests.support.reconciling import Desk

FINALIZER = "finalizers.fluxcd.io"
PREFIX = "failed to checkout and determine revision: "


@pytest.fixture
def repo(git_server: GitServer) -> Repo:
    repo = git_server.repo("fleet")
    repo.push({"app.yaml": "a: 1\n", "docs/logo.png": "png"}, message="Begin\n\nWith a body.")
    return repo


@pytest.fixture
def source(desk: Desk, git_server: GitServer, namespace: str) -> Source:
    return Source(desk, git_server, namespace)


def writes(counts: dict[str, int]) -> dict[str, int]:
    """Leave out the one GET by which the test itself looks at the object."""
    assert counts.pop("get", 0) == 1
    return counts


async def test_first_reconcile_stores_an_artifact_and_reports_it(
    source: Source, repo: Repo
) -> None:
    await source.apply()
    result = await source.reconcile()
    assert result.requeue_after_s == 60
    revision = f"main@sha1:{repo.head}"
    stored = ("True", "Succeeded", f"stored artifact for revision '{revision}'")
    assert source.conditions == {"Ready": stored, "ArtifactInStorage": stored}
    status = source.status
    assert status["observedGeneration"] == 1
    artifact = status["artifact"]
    path = f"gitrepository/{source.namespace}/fleet/{repo.head}.tar.gz"
    assert (artifact["path"], artifact["revision"]) == (path, revision)
    assert artifact["url"] == f"http://127.0.0.1:1/{path}"
    content = await asyncio.to_thread(source.file.read_bytes)
    assert artifact["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert artifact["size"] == len(content)
    assert source.names() == ["app.yaml"]
    assert FINALIZER in source.live["metadata"]["finalizers"]
    assert source.events == [("NewArtifact", "stored artifact for commit 'Begin'")]
    managers = {entry["manager"] for entry in source.live["metadata"]["managedFields"]}
    assert "source-controller" in managers


@pytest.mark.usefixtures("repo")
async def test_unchanged_repository_costs_one_request_and_no_write(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    events, requests = len(source.events), len(source.server.requests)
    with source.desk.counting() as counts:
        await source.reconcile()
    assert writes(counts) == {}
    assert len(source.events) == events
    assert len(source.server.requests) - requests == 1


async def test_push_costs_one_patch(
    source: Source, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "VISIBLE_AFTER_S", 60.0)  # busy machines take long
    await source.apply()
    await source.reconcile()
    sha = repo.push({"app.yaml": "a: 2\n"}, message="x" * 60)
    with source.desk.counting() as counts:
        await source.reconcile()
    assert writes(counts) == {"patch": 1}
    assert source.status["artifact"]["revision"] == f"main@sha1:{sha}"
    assert source.events[-1] == ("NewArtifact", f"stored artifact for commit '{'x' * 50}...'")
    event = source.desk.events[-1]
    assert event.metadata == {
        "source.toolkit.fluxcd.io/revision": f"main@sha1:{sha}",
        "source.toolkit.fluxcd.io/digest": source.status["artifact"]["digest"],
    }


@pytest.mark.usefixtures("repo")
async def test_changed_ignore_rebuilds_the_same_revision(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    before = source.status["artifact"]
    await source.apply(ignore="app.yaml")
    await source.reconcile()
    after = source.status["artifact"]
    assert source.names() == ["docs/logo.png"]
    assert after["revision"] == before["revision"]
    assert after["digest"] != before["digest"]
    assert source.status["observedIgnore"] == "app.yaml"
    assert source.status["observedGeneration"] == 2


async def test_request_is_acknowledged_and_answered_by_an_event(source: Source, repo: Repo) -> None:
    await source.apply()
    await source.reconcile()
    await source.apply(annotations={"reconcile.fluxcd.io/requestedAt": "now"})
    await source.reconcile()
    assert source.status["lastHandledReconcileAt"] == "now"
    text = f"no changes since last reconciliation: observed revision 'main@sha1:{repo.head}'"
    assert source.events[-1] == ("GitOperationSucceeded", text)
    assert source.desk.events[-1].is_trace


@pytest.mark.usefixtures("repo")
async def test_failure_keeps_the_artifact_and_says_why(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    artifact = source.status["artifact"]
    await source.apply(ref={"branch": "nope"})
    await source.fails()
    url = source.server.url("fleet")
    text = f"{PREFIX}unable to clone '{url}': couldn't find remote ref \"refs/heads/nope\""
    found = source.conditions
    assert found["Ready"] == (*found["FetchFailed"][:0], "False", "GitOperationFailed", text)
    assert found["FetchFailed"] == ("True", "GitOperationFailed", text)
    assert found["Reconciling"][:2] == ("True", "ProgressingWithRetry")
    assert found["ArtifactInStorage"][0] == "True"
    assert source.status["artifact"] == artifact
    assert source.status["observedGeneration"] == 1
    assert source.events[-1] == ("GitOperationFailed", text)


@pytest.mark.usefixtures("repo")
async def test_same_failure_again_writes_and_tells_nothing(source: Source) -> None:
    await source.apply(ref={"branch": "nope"})
    await source.fails()
    events = len(source.events)
    with source.desk.counting() as counts:
        await source.fails()
    assert writes(counts) == {}
    assert len(source.events) == events


@pytest.mark.usefixtures("repo")
async def test_recovery_without_new_content_is_told(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    with source.server.refusing(503):
        await source.fails()
    assert source.conditions["Ready"][0] == "False"
    await source.reconcile()
    assert set(source.conditions) == {"Ready", "ArtifactInStorage"}
    revision = source.status["artifact"]["revision"]
    assert source.events[-1] == ("Succeeded", f"stored artifact for commit '{revision}'")


async def test_empty_repository(source: Source, git_server: GitServer) -> None:
    git_server.repo("fleet")
    await source.apply()
    await source.fails()
    assert source.conditions["Ready"] == ("False", "EmptyGitRepository", "git repository is empty")


async def test_missing_secret(source: Source, repo: Repo) -> None:
    del repo
    await source.apply(secretRef={"name": "nope"})
    await source.fails()
    status, reason, message = source.conditions["Ready"]
    assert (status, reason) == ("False", "AuthenticationFailed")
    assert message.startswith(f"failed to get secret '{source.namespace}/nope': ")


async def test_credentials_come_from_the_secret(desk: Desk, namespace: str, tmp_path: Path) -> None:
    with GitServer(tmp_path / "private", basic=("ada", "sec:ret"), tls=True) as server:
        sha = server.repo("fleet").push({"a": "1"})
        await desk.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "git", "namespace": namespace},
                "stringData": {
                    "username": "ada",
                    "password": "sec:ret",
                    "ca.crt": server.ca.decode(),
                },
            }
        )
        source = Source(desk, server, namespace)
        await source.apply(secretRef={"name": "git"})
        await source.reconcile()
        assert source.status["artifact"]["revision"] == f"main@sha1:{sha}"


@pytest.mark.usefixtures("repo")
async def test_cluster_without_the_switch_gets_no_identity_of_the_machine(source: Source) -> None:
    await source.apply(provider="azure")
    await source.fails(TransientError)
    status, reason, text = source.conditions["Ready"]
    assert (status, reason) == ("False", "AuthenticationFailed")
    assert "set ambient_cloud_identity = true in its [[clusters]] table" in text
    await source.apply(provider="generic")
    await source.reconcile()
    assert set(source.conditions) == {"Ready", "ArtifactInStorage"}


@pytest.mark.usefixtures("repo")
async def test_missing_file_is_stored_again(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    artifact = source.status["artifact"]
    await asyncio.to_thread(source.file.unlink)
    await source.reconcile()
    assert source.names() == ["app.yaml"]
    assert source.status["artifact"]["digest"] == artifact["digest"]


@pytest.mark.usefixtures("repo")
async def test_file_with_another_digest_is_replaced(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    await asyncio.to_thread(source.file.write_bytes, b"tampered")
    await source.reconcile()
    assert source.names() == ["app.yaml"]
    assert source.events[-1][0] == "ArtifactVerificationFailed"
    assert source.events[-1][1].startswith("failed to verify integrity of artifact: ")


async def test_damaged_object_store_is_fetched_anew(source: Source, repo: Repo) -> None:
    await source.apply()
    await source.reconcile()
    stores = source.desk.context.data_dir / "git"

    def damage() -> None:
        source.desk.context.git.close()
        for pack in stores.rglob("*.pack"):
            pack.chmod(0o600)
            pack.write_bytes(b"\0" * pack.stat().st_size)

    await asyncio.to_thread(damage)
    sha = repo.push({"new.yaml": "b: 1\n"})
    await source.reconcile()
    assert source.status["artifact"]["revision"] == f"main@sha1:{sha}"
    assert source.names() == ["app.yaml", "new.yaml"]


@pytest.mark.usefixtures("repo")
async def test_consumers_read_the_same_from_store_and_file(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    await source.desk.caught_up()
    obj = source.desk.context.gitrepositories.get(source.namespace, "fleet")
    assert obj is not None
    assert obj.status.artifact is not None
    storage = source.desk.context.storage
    live = storage.open(obj.status.artifact)
    first = await asyncio.to_thread(lambda: (live.id, live.entries(), live.read("app.yaml")))
    storage._trees.clear()
    stored = storage.open(obj.status.artifact)
    again = await asyncio.to_thread(lambda: (stored.id, stored.entries(), stored.read("app.yaml")))
    assert first == again


async def test_old_artifacts_are_collected(source: Source, repo: Repo) -> None:
    await source.apply()
    for turn in range(4):
        repo.push({"app.yaml": f"a: {turn}\n"})
        await source.reconcile()
    files = await asyncio.to_thread(
        lambda: sorted(each.name for each in source.file.parent.iterdir())
    )
    assert len(files) == 2
    assert f"{repo.head}.tar.gz" in files
    assert source.events[-1] == ("GarbageCollectionSucceeded", "garbage collected 1 artifacts")


@pytest.mark.usefixtures("repo")
async def test_suspended_object_is_left_alone(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    requests = len(source.server.requests)
    await source.apply(suspend=True, annotations={"reconcile.fluxcd.io/requestedAt": "later"})
    result = await source.reconcile()
    assert result.requeue_after_s is None
    assert len(source.server.requests) == requests
    assert source.status["lastHandledReconcileAt"] == "later"
    assert source.status["observedGeneration"] == 2
    assert source.conditions["Ready"][0] == "True"


@pytest.mark.usefixtures("repo")
async def test_deletion_removes_the_artifacts_and_lets_the_object_go(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    folder = source.file.parent
    await source.desk.delete(GitRepository, source.namespace, "fleet")
    await source.reconcile()
    assert not await asyncio.to_thread(folder.exists)
    assert await source.desk.names(source.namespace, GitRepository) == []


async def test_long_run_shows_that_it_is_under_way(source: Source, repo: Repo) -> None:
    del repo
    await source.apply(timeout="5m")
    informer = source.desk.context.gitrepositories
    seen: asyncio.Queue[GitRepository] = asyncio.Queue()

    def look(_old: GitRepository | None, new: GitRepository | None) -> None:
        if new is not None:
            seen.put_nowait(new)

    with source.server.stalled():
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(api.WAIT_S):
            run = tasks.create_task(source.reconcile())
            await asyncio.to_thread(source.server.wait_for_requests, 1)
            end = informer.subscribe(look)
            shown = {}
            while "Reconciling" not in shown:
                shown = {each.type: each for each in (await seen.get()).status.conditions}
            end()
            assert shown["Reconciling"].reason == "Progressing"
            assert shown["Ready"].status == "Unknown"
            run.cancel()
    await source.reconcile()
    assert set(source.conditions) == {"Ready", "ArtifactInStorage"}


async def test_address_of_the_daemon_changes(source: Source, repo: Repo) -> None:
    await source.apply()
    await source.reconcile()
    source.desk.context.storage._base = "http://elsewhere:9090"
    await source.reconcile()
    path = f"gitrepository/{source.namespace}/fleet/{repo.head}.tar.gz"
    assert source.status["artifact"]["url"] == f"http://elsewhere:9090/{path}"


async def test_archive_is_a_plain_tarball_of_the_rules(source: Source, repo: Repo) -> None:
    repo.push({"run.sh": "#!/bin/sh\n", ".gitignore": "x", ".sourceignore": "docs/\n"})
    await source.apply()
    await source.reconcile()
    content = await asyncio.to_thread(source.file.read_bytes)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {each.name: (each.mode, each.uid, each.mtime) for each in archive}
    assert members == dict.fromkeys((".sourceignore", "app.yaml", "run.sh"), (384, 0, 0))


async def test_full_disk_keeps_the_artifact_and_is_recovered_from(
    source: Source, repo: Repo
) -> None:
    await source.apply()
    await source.reconcile()
    before = source.status["artifact"]
    sha = repo.push({f"{n}.bin": os.urandom(4000) for n in range(40)})
    reference = gitref.Exact("refs/heads/main", "main")
    remote = git.Repository(source.server.url("fleet"), timeout_s=60)
    fetcher = source.desk.context.git
    await fetcher.fetch(remote, reference, await fetcher.resolve(remote, reference))
    with disk.full(50_000):
        await source.fails()
    assert source.conditions["StorageOperationFailed"] == (
        "True",
        "ArchiveOperationFailed",
        "unable to archive artifact to storage: [Errno 27] File too large",
    )
    assert source.status["artifact"] == before
    assert [path.name for path in source.file.parent.iterdir()] == [source.file.name]
    await source.reconcile()
    assert source.status["artifact"]["revision"] == f"main@sha1:{sha}"
    assert set(source.conditions) == {"Ready", "ArtifactInStorage"}


async def test_branch_that_is_deleted_and_comes_back(source: Source, repo: Repo) -> None:
    await source.apply()
    await source.reconcile()
    before = source.status["artifact"]
    repo.switch("other")
    run_git(repo.bare, "update-ref", "-d", "refs/heads/main")
    await source.fails()
    status, reason, text = source.conditions["FetchFailed"]
    assert (status, reason) == ("True", "GitOperationFailed")
    assert text.endswith('couldn\'t find remote ref "refs/heads/main"')
    assert source.status["artifact"] == before
    run_git(repo.work, "push", "--quiet", "origin", "other:main")
    await source.reconcile()
    assert set(source.conditions) == {"Ready", "ArtifactInStorage"}


@pytest.mark.usefixtures("repo")
async def test_finalizer_goes_although_the_object_changed_meanwhile(source: Source) -> None:
    await source.apply()
    await source.reconcile()
    await source.desk.caught_up()
    context = source.desk.context
    stale = context.gitrepositories.get(source.namespace, "fleet")
    assert stale is not None
    await source.desk.patch(
        GitRepository, source.namespace, "fleet", {"metadata": {"labels": {"seen": "late"}}}
    )
    kind = steps.Kind(
        GVK(GitRepository.GROUP, GitRepository.VERSION, GitRepository.KIND),
        context.gitrepositories,
        "somebody",
        "source-controller",
    )
    after = await steps.remove_finalizer(context, kind, stale)
    assert FINALIZER not in after.metadata.finalizers
    assert after.metadata.labels == {"seen": "late"}
