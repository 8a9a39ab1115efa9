"""What a run over a GitRepository makes of its conditions."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from api import meta
from api.artifact import Artifact
from api.source import GitRepository
from reconcilers.gitrepository import content, includes, remote
from reconcilers.source import objects
from reconcilers.source.attempt import IN_PROGRESS, Attempt
from runtime import conditions
from runtime.errors import TerminalError, TransientError
from sources import gitref

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
SHA = "a" * 40
ARTIFACT = {
    "digest": "sha256:00",
    "path": "gitrepository/a/b/c.tar.gz",
    "url": "http://host/x",
    "revision": f"main@sha1:{SHA}",
    "lastUpdateTime": "2026-01-01T00:00:00Z",
}
FAILURE = TransientError("GitOperationFailed", "it went wrong")


def condition(
    type_: str, status: str = "True", reason: str = "R", text: str = "m"
) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": text,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }


def attempt(
    *found: dict[str, Any],
    generation: int = 1,
    annotations: dict[str, str] | None = None,
    ignore: str | None = None,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> Attempt[GitRepository]:
    document = {
        "metadata": {
            "name": "b",
            "namespace": "a",
            "generation": generation,
            "annotations": annotations or {},
        },
        "spec": {"url": "https://host/x", "interval": "1m", "ignore": ignore, **(spec or {})},
        "status": {"observedGeneration": 1, "conditions": list(found), **status},
    }
    source = objects.Source(GitRepository, content.produce)
    return Attempt(source, msgspec.convert(document, GitRepository), NOW)


def ready(found: conditions.Conditions) -> tuple[str, str, str]:
    each = conditions.get(found, meta.READY)
    assert each is not None
    return each.status, each.reason, each.message


def test_new_generation_is_shown_with_its_number() -> None:
    assert attempt(generation=2).progress == "processing object: new generation 1 -> 2"


def test_request_is_shown() -> None:
    asked = attempt(annotations={meta.REQUESTED_AT: "x"}, lastHandledReconcileAt="y")
    assert asked.is_requested
    assert asked.progress == IN_PROGRESS


def test_poll_has_nothing_to_show() -> None:
    polled = attempt(annotations={meta.REQUESTED_AT: "x"}, lastHandledReconcileAt="x")
    assert not polled.is_requested
    assert not polled.worth_showing.is_set()


def test_healthy_source_stays_ready_while_it_is_looked_at() -> None:
    run = attempt(condition(meta.READY), generation=2)
    assert ready(run.under_way().conditions)[0] == "True"


def test_ready_is_unknown_while_content_is_rebuilt() -> None:
    run = attempt(condition(meta.READY))
    run.is_rebuilding = True
    run.show("building artifact")
    assert ready(run.under_way().conditions) == ("Unknown", "Progressing", "building artifact")


def test_success_clears_failures_and_takes_the_generation() -> None:
    run = attempt(
        condition(meta.FETCH_FAILED), condition(meta.STALLED), condition(meta.ARTIFACT_OUTDATED),
        condition("Foreign"), generation=3, artifact=ARTIFACT,
    )  # fmt: skip
    run.set(meta.ARTIFACT_IN_STORAGE, "True", "Succeeded", "stored")
    status = run.succeeded()
    assert {each.type for each in status.conditions} == {"Ready", "ArtifactInStorage", "Foreign"}
    assert ready(status.conditions) == ("True", "Succeeded", "stored")
    assert status.observed_generation == 3


def test_failure_leaves_generation_and_artifact() -> None:
    run = attempt(condition(meta.ARTIFACT_IN_STORAGE), generation=3, artifact=ARTIFACT)
    status = run.failed(FAILURE)
    assert ready(status.conditions) == ("False", FAILURE.reason, FAILURE.message)
    assert conditions.is_true(status.conditions, meta.RECONCILING)
    assert conditions.is_true(status.conditions, meta.ARTIFACT_IN_STORAGE)
    assert status.observed_generation == 1
    assert status.artifact is not None


def test_storage_failure_is_more_important_than_an_outdated_artifact() -> None:
    run = attempt(condition(meta.ARTIFACT_OUTDATED))
    run.condition = meta.STORAGE_OPERATION_FAILED
    found = run.failed(TransientError("ArchiveOperationFailed", "disk full")).conditions
    assert ready(found) == ("False", "ArchiveOperationFailed", "disk full")
    assert not conditions.is_true(found, meta.FETCH_FAILED)


def test_terminal_failure_stalls_and_takes_the_generation() -> None:
    run = attempt(condition(meta.RECONCILING), generation=2)
    status = run.failed(TerminalError("URLInvalid", "failed to parse url"))
    assert conditions.is_true(status.conditions, meta.STALLED)
    assert conditions.is_true(status.conditions, meta.FETCH_FAILED)
    assert conditions.get(status.conditions, meta.RECONCILING) is None
    assert status.observed_generation == 2


def test_repeated_failure_is_no_news() -> None:
    again = attempt(condition(meta.READY, "False", FAILURE.reason, FAILURE.message))
    assert not again.is_news(FAILURE)
    assert attempt(condition(meta.READY, "False", FAILURE.reason, "other")).is_news(FAILURE)
    assert attempt().is_news(FAILURE)


def test_suspended_object_without_conditions_keeps_its_generation() -> None:
    assert attempt(generation=2).suspended().observed_generation == 1
    status = attempt(condition(meta.STALLED), condition(meta.READY), generation=2).suspended()
    assert status.observed_generation == 2
    assert [each.type for each in status.conditions] == [meta.READY]


@pytest.mark.parametrize(
    ("observed", "wanted", "is_current"),
    [(None, None, True), ("a", "a", True), (None, "", False), ("", None, False), ("a", "b", False)],
)
def test_absent_and_empty_ignore_differ(
    observed: str | None, wanted: str | None, is_current: bool
) -> None:
    run = attempt(ignore=wanted, observedIgnore=observed, artifact=ARTIFACT)
    assert content._is_current(run, gitref.Candidate(SHA, "main"), ()) == is_current


def test_other_revision_or_no_artifact_is_not_current() -> None:
    assert not content._is_current(attempt(artifact=ARTIFACT), gitref.Candidate(SHA, "dev"), ())
    assert not content._is_current(attempt(), gitref.Candidate(SHA, "main"), ())


OTHER = ARTIFACT | {"digest": "sha256:01", "revision": f"main@sha1:{'b' * 40}"}
INCLUDE = [{"repository": {"name": "o"}, "fromPath": "a", "toPath": "b"}]
VERIFY = {"secretRef": {"name": "keys"}}


@pytest.mark.parametrize(
    ("spec", "status", "included", "is_current"),
    [
        ({"recurseSubmodules": True}, {}, [], False),
        ({"recurseSubmodules": True}, {"observedRecurseSubmodules": True}, [], True),
        ({}, {"observedRecurseSubmodules": True}, [], False),
        ({"sparseCheckout": ["a"]}, {}, [], False),
        ({"sparseCheckout": ["a"]}, {"observedSparseCheckout": ["a"]}, [], True),
        ({"sparseCheckout": ["./a"]}, {"observedSparseCheckout": ["a"]}, [], False),
        ({"sparseCheckout": ["a", "b"]}, {"observedSparseCheckout": ["b", "a"]}, [], False),
        ({"include": INCLUDE}, {}, [OTHER], False),
        (
            {"include": INCLUDE},
            {"observedInclude": INCLUDE, "includedArtifacts": [OTHER]},
            [OTHER],
            True,
        ),
        (
            {"include": INCLUDE},
            {"observedInclude": INCLUDE, "includedArtifacts": [OTHER]},
            [OTHER | {"digest": "sha256:02"}],
            False,
        ),
        (
            {"include": INCLUDE},
            {"observedInclude": INCLUDE, "includedArtifacts": [OTHER]},
            [OTHER | {"revision": "x"}],
            False,
        ),
        (
            {"include": [INCLUDE[0] | {"toPath": "c"}]},
            {"observedInclude": INCLUDE, "includedArtifacts": [OTHER]},
            [OTHER],
            False,
        ),
        ({}, {"observedInclude": INCLUDE, "includedArtifacts": [OTHER]}, [], False),
        ({"verify": VERIFY}, {}, [], False),
        ({"verify": VERIFY}, {"sourceVerificationMode": "HEAD"}, [], True),
        ({"verify": VERIFY | {"mode": "head"}}, {"sourceVerificationMode": "HEAD"}, [], True),
        ({"verify": VERIFY | {"mode": "Tag"}}, {"sourceVerificationMode": "HEAD"}, [], False),
        ({"verify": VERIFY | {"mode": "HEAD"}}, {"sourceVerificationMode": "Tag"}, [], False),
        ({"verify": VERIFY | {"mode": "TagAndHEAD"}}, {"sourceVerificationMode": "Tag"}, [], False),
        ({"verify": VERIFY | {"mode": "Tag"}}, {"sourceVerificationMode": "TagAndHEAD"}, [], True),
        ({}, {"sourceVerificationMode": "HEAD"}, [], True),
    ],
)
def test_what_shapes_the_content_decides_whether_the_artifact_is_current(
    spec: dict[str, Any],
    status: dict[str, Any],
    included: list[dict[str, Any]],
    *,
    is_current: bool,
) -> None:
    run = attempt(spec=spec, artifact=ARTIFACT, **status)
    artifacts = msgspec.convert(included, tuple[Artifact, ...])
    assert content._is_current(run, gitref.Candidate(SHA, "main"), artifacts) == is_current


def including(name: str, *names: str) -> GitRepository:
    found = attempt(spec={"include": [{"repository": {"name": each}} for each in names]}).obj
    metadata = msgspec.structs.replace(found.metadata, name=name)
    return msgspec.structs.replace(found, metadata=metadata)


@pytest.mark.parametrize(
    ("others", "way"),
    [
        ({}, []),
        ({"b": ("c",), "c": ()}, []),
        ({"b": ("a",)}, ["a", "b", "a"]),
        ({"b": ("c",), "c": ("x", "a")}, ["a", "b", "c", "a"]),
        ({"b": ("c",), "c": ("b",)}, []),
    ],
)
def test_circle_is_found_by_its_members_alone(
    others: dict[str, tuple[str, ...]], way: list[str]
) -> None:
    found = {name: including(name, *names) for name, names in others.items()}
    assert includes.cycle(including("a", "b"), found.get) == way


def test_failed_verification_is_told_by_its_own_condition_and_forgotten_by_the_next_run() -> None:
    run = attempt(condition(meta.ARTIFACT_IN_STORAGE), artifact=ARTIFACT)
    run.condition = meta.SOURCE_VERIFIED
    status = run.failed(TransientError("InvalidCommitSignature", "it is not signed"))
    assert ready(status.conditions) == ("False", "InvalidCommitSignature", "it is not signed")
    assert conditions.get(status.conditions, meta.FETCH_FAILED) is None
    again = attempt(condition(meta.SOURCE_VERIFIED, "False"))
    again.forget_refusal()
    assert conditions.get(again.conditions, meta.SOURCE_VERIFIED) is None


def test_verified_revision_stays_so_while_the_next_is_looked_at() -> None:
    run = attempt(condition(meta.SOURCE_VERIFIED, "True"))
    run.forget_refusal()
    assert conditions.is_true(run.conditions, meta.SOURCE_VERIFIED)


def test_subject_is_cut_as_flux_cuts_it() -> None:
    assert content._short("x" * 50) == "x" * 50
    assert content._short("é" * 51) == "é" * 50 + "..."


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"provider": "gcp"},
            "unsupported provider 'gcp': supported values: generic, aws, azure, github",
        ),
        (
            {"serviceAccountName": "a"},
            "serviceAccountName can only be set when provider is 'azure' or 'aws'",
        ),
        (
            {"provider": "github", "serviceAccountName": "a"},
            "serviceAccountName can only be set when provider is 'azure' or 'aws'",
        ),
    ],
)
def test_provider_that_an_older_crd_let_in_stalls(spec: dict[str, Any], said: str) -> None:
    run = attempt(spec=spec)
    with pytest.raises(TerminalError) as caught:
        remote.check_provider(run.obj.spec)
    found = run.failed(caught.value).conditions
    assert ready(found) == ("False", "InvalidProviderConfiguration", said)
    assert conditions.is_true(found, meta.STALLED)


@pytest.mark.parametrize(
    "spec",
    [{}, {"provider": "generic"}, {"provider": "github"}, {"provider": "aws"},
     {"provider": "azure", "serviceAccountName": "a"}],
)  # fmt: skip
def test_provider_that_the_crd_lets_in_is_served(spec: dict[str, Any]) -> None:
    remote.check_provider(attempt(spec=spec).obj.spec)
