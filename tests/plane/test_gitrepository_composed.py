"""GitRepositories made of several sources, of parts of one, or of signed revisions alone."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from devcluster.gitrepo import git as run_git
from runtime.errors import TerminalError, TransientError, WaitingError
from tests.support import signing
from tests.support.gitsource import Source

if TYPE_CHECKING:
    from devcluster.gitrepo import Repo
    from devcluster.gitserver import GitServer
    from tests.support.reconciling import Desk
    from tests.support.signing import Signer


@pytest.fixture
def repo(git_server: GitServer) -> Repo:
    repo = git_server.repo("fleet")
    repo.push({"app/app.yaml": "a: 1\n", "docs/x.md": "x\n"})
    return repo


@pytest.fixture
def source(desk: Desk, git_server: GitServer, namespace: str) -> Source:
    return Source(desk, git_server, namespace)


@pytest.fixture
def library(desk: Desk, git_server: GitServer, namespace: str) -> Source:
    """Another GitRepository beside it."""
    git_server.repo("library").push({"base/b.yaml": "b: 1\n", "README.md": "hi\n"})
    return Source(desk, git_server, namespace, "library")


def include(name: str = "library", **paths: str) -> list[dict[str, Any]]:
    return [{"repository": {"name": name}, **paths}]


@pytest.mark.usefixtures("repo")
async def test_included_artifact_is_waited_for_copied_and_followed(
    source: Source, library: Source, git_server: GitServer
) -> None:
    await source.apply(include=include(fromPath="./base", toPath="vendor/lib"))
    await source.fails(WaitingError)
    text = "could not get resource for include 'library': GitRepository 'library' not found"
    assert source.conditions["IncludeUnavailable"] == ("True", "NotFound", text)
    assert source.conditions["Ready"] == ("False", "NotFound", text)

    await library.apply()
    await source.fails(WaitingError)
    text = "no artifact available for include 'library'"
    assert source.conditions["IncludeUnavailable"] == ("True", "NoArtifact", text)

    await library.reconcile()
    await source.reconcile()
    assert set(source.conditions) == {"Ready", "ArtifactInStorage"}
    files = {"app/app.yaml": "a: 1\n", "docs/x.md": "x\n", "vendor/lib/b.yaml": "b: 1\n"}
    assert source.files() == files
    assert source.status["observedInclude"] == include(fromPath="./base", toPath="vendor/lib")
    assert source.status["includedArtifacts"] == [library.status["artifact"]]

    first = source.status["artifact"]
    git_server.repo("library").push({"base/b.yaml": "b: 2\n"})
    await library.reconcile()
    await source.reconcile()
    assert source.files() == files | {"vendor/lib/b.yaml": "b: 2\n"}
    assert source.status["artifact"]["revision"] == first["revision"]
    assert source.status["artifact"]["digest"] != first["digest"]
    requests = len(git_server.requests)
    with source.desk.counting() as counts:
        await source.reconcile()
    assert (counts, len(git_server.requests) - requests) == ({"get": 1}, 1)


@pytest.mark.usefixtures("repo")
async def test_include_that_cannot_be_copied_keeps_the_artifact(
    source: Source, library: Source
) -> None:
    await source.apply()
    await source.reconcile()
    before = source.status["artifact"]
    await library.apply()
    await library.reconcile()
    await source.apply(include=include(fromPath="nope", toPath="lib"))
    await source.fails()
    assert source.conditions["StorageOperationFailed"] == (
        "True",
        "CopyFailure",
        "failed to copy 'library' include from nope to lib: nope: no such file or directory",
    )
    await source.apply(include=include(toPath="app"))
    await source.fails()
    assert source.conditions["Ready"][2].endswith("from  to app: app: file exists")
    assert source.status["artifact"] == before


@pytest.mark.usefixtures("repo")
async def test_circle_of_includes_is_reported_on_its_members(
    source: Source, library: Source
) -> None:
    await library.apply(include=include("fleet"))
    await source.apply(include=include())
    await source.fails(TerminalError)
    text = "circular include detected: fleet -> library -> fleet"
    assert source.conditions["Stalled"] == ("True", "IncludeCycle", text)


async def test_submodules_and_sparse_directories(
    source: Source, repo: Repo, git_server: GitServer
) -> None:
    sha = git_server.repo("library").push({"lib/l.yaml": "l: 1\n", "test/t.yaml": "t: 1\n"})
    modules = str(repo.work / ".gitmodules")
    run_git(repo.work, "config", "-f", modules, "submodule.lib.path", "app/library")
    run_git(repo.work, "config", "-f", modules, "submodule.lib.url", "../library.git")
    run_git(repo.work, "update-index", "--add", "--cacheinfo", f"160000,{sha},app/library")
    run_git(repo.work, "add", ".gitmodules")
    run_git(repo.work, "commit", "--quiet", "-m", "Add a submodule")
    run_git(repo.work, "push", "--quiet", "origin", "HEAD")

    await source.apply()
    await source.reconcile()
    assert source.names() == ["app/app.yaml", "docs/x.md"]
    await source.apply(recurseSubmodules=True)
    await source.reconcile()
    assert source.names() == [
        "app/app.yaml", "app/library/lib/l.yaml", "app/library/test/t.yaml", "docs/x.md",
    ]  # fmt: skip
    assert source.status["observedRecurseSubmodules"] is True
    await source.apply(recurseSubmodules=True, sparseCheckout=["./docs", "app/library/lib"])
    await source.reconcile()
    assert source.names() == ["app/library/lib/l.yaml", "docs/x.md"]
    assert source.status["observedSparseCheckout"] == ["./docs", "app/library/lib"]

    await source.apply(sparseCheckout=["nope"])
    await source.fails()
    assert source.conditions["FetchFailed"] == (
        "True",
        "GitOperationFailed",
        (
            "failed to sparse checkout directories : sparse checkout dir 'nope' does not exist in "
            "repository: no such file or directory"
        ),
    )


async def give_keys(source: Source, *signers: Signer) -> None:
    data = {f"{n}{each.suffix}": each.public for n, each in enumerate(signers)}
    await source.desk.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys", "namespace": source.namespace},
            "data": {name: base64.b64encode(key).decode() for name, key in data.items()},
        }
    )


def verify(mode: str) -> dict[str, Any]:
    return {"mode": mode, "secretRef": {"name": "keys"}}


async def test_signed_revisions_are_taken_and_others_are_not(source: Source, repo: Repo) -> None:
    with signing.ssh() as ada, signing.ssh() as eve:
        await give_keys(source, ada)
        signed = ada.commit(repo, {"app/app.yaml": "a: 2\n"})
        await source.apply(verify=verify("HEAD"))
        await source.reconcile()
        text = f"verified signature of\n\t- commit '{signed}' with key '{ada.name}'"
        assert source.conditions["SourceVerified"] == ("True", "Succeeded", text)
        assert source.conditions["Ready"][0] == "True"
        assert source.status["sourceVerificationMode"] == "HEAD"
        assert ("Succeeded", text) in source.events

        forged = eve.commit(repo, {"app/app.yaml": "a: 3\n"})
        await source.fails(TransientError)
        text = (
            f"signature verification of commit '{forged}' failed: unable to verify Git commit SSH "
            "signature: unable to verify payload with any of the given authorized keys: "
            "no matching key"
        )
        assert source.conditions["SourceVerified"] == ("False", "InvalidCommitSignature", text)
        assert source.conditions["Ready"] == ("False", "InvalidCommitSignature", text)
        assert "FetchFailed" not in source.conditions
        assert source.status["artifact"]["revision"] == f"main@sha1:{signed}"

        again = ada.commit(repo, {"app/app.yaml": "a: 4\n"})
        await source.reconcile()
        assert source.status["artifact"]["revision"] == f"main@sha1:{again}"
        assert source.conditions["SourceVerified"][0] == "True"

    await source.apply()
    await source.reconcile()
    assert set(source.conditions) == {"Ready", "ArtifactInStorage"}
    assert "sourceVerificationMode" not in source.status


async def test_tags_are_verified_with_their_commit(source: Source, repo: Repo) -> None:
    with signing.ssh() as ada:
        await give_keys(source, ada)
        repo.tag("light")
        repo.tag("plain", annotation="Release")
        unsigned = ada.tag(repo, "v1.0.0")
        commit = repo.head
        ref = {"semver": ">=1"}
        await source.apply(ref=ref, verify=verify("Tag"))
        await source.reconcile()
        tag = f"\n\t- tag 'v1.0.0@{unsigned}' with key '{ada.name}'"
        assert source.conditions["SourceVerified"][2] == f"verified signature of{tag}"

        await source.apply(ref=ref, verify=verify("TagAndHEAD"))
        await source.fails(TransientError)
        text = (
            f"signature verification of commit '{commit}' failed: unsupported signature type: empty"
        )
        assert source.conditions["SourceVerified"] == ("False", "InvalidCommitSignature", text)

        signed = ada.commit(repo, {"app/app.yaml": "a: 2\n"})
        tagged = ada.tag(repo, "v1.1.0")
        await source.reconcile()
        assert source.conditions["SourceVerified"][2] == (
            f"verified signature of\n\t- tag 'v1.1.0@{tagged}' with key '{ada.name}'"
            f"\n\t- commit '{signed}' with key '{ada.name}'"
        )
        assert source.status["sourceVerificationMode"] == "TagAndHEAD"

        for name in ("light", "plain"):
            await source.apply(ref={"tag": name}, verify=verify("Tag"))
            await source.fails(TransientError)
            status, reason, text = source.conditions["SourceVerified"]
            assert (status, reason) == ("False", "InvalidGitObject")
            assert text.startswith(f"cannot verify signature of tag '{name}")
            assert text.endswith("since it is not signed")

        await source.apply(ref={"branch": "main"}, verify=verify("Tag"))
        await source.fails(TerminalError)
        text = "cannot verify tag object's signature if a tag reference is not specified"
        assert source.conditions["SourceVerified"] == ("False", "InvalidVerificationMode", text)
        assert source.conditions["Stalled"] == ("True", "InvalidVerificationMode", text)


@pytest.mark.usefixtures("repo")
async def test_missing_keys_are_named(source: Source) -> None:
    await source.apply(verify=verify("HEAD"))
    await source.fails(TransientError)
    status, reason, text = source.conditions["SourceVerified"]
    assert (status, reason) == ("False", "VerificationError")
    assert text.startswith("public keys secret error: failed to get secret")
    assert "artifact" not in source.status
