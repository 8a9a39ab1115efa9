"""The steps that turn a GitRepository's reference into an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api import meta, served
from api.source import GROUP
from reconcilers import steps
from reconcilers.gitrepository import remote
from runtime.errors import TerminalError, TransientError
from sources import gitref, gitstore, storage, tree
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from api.artifact import Artifact
    from api.source import GitRepository
    from reconcilers.context import ClusterContext
    from reconcilers.gitrepository.attempt import Attempt
    from sources.git import Commit, Repository
    from sources.gitref import Candidate, Reference

SUBJECT_LENGTH: Final = 50
"""Characters of a commit's subject that events quote, as in Flux."""
GIT_SUCCEEDED: Final = "GitOperationSucceeded"
ARCHIVE_FAILED: Final = "ArchiveOperationFailed"
VERIFICATION_FAILED: Final = "ArtifactVerificationFailed"
NEW_ARTIFACT: Final = "NewArtifact"
NEW_REVISION: Final = "NewRevision"


def owner(obj: GitRepository) -> storage.Owner:
    """Return what the artifact store calls an object."""
    return storage.Owner(obj.KIND, obj.metadata.namespace, obj.metadata.name)


async def produce(context: ClusterContext, attempt: Attempt) -> None:
    """Run the steps: storage, source, artifact. The first that fails ends it.

    Raises:
        GitOpsError: what the status is to say.
    """
    paths = served.unserved(attempt.obj)
    if paths:
        raise TerminalError(meta.NOT_SERVED, served.message(paths))
    await _check_storage(context, attempt)
    repository = await remote.repository(context, attempt.obj)
    reference = gitref.reference(attempt.obj.spec.ref)
    try:
        with context.metrics.fetch(attempt.obj.KIND):
            candidate = await context.git.resolve(repository, reference)
            commit: Commit | None = None
            if not _is_current(attempt, candidate):
                _announce(attempt, candidate)
                commit = await context.git.fetch(repository, reference, candidate)
        if commit is None:
            await _keep(context, attempt, repository, candidate)
            return
    except CredentialsError as err:
        raise remote.unusable(err) from err
    await _store(context, attempt, repository, reference, commit)


async def _check_storage(context: ClusterContext, attempt: Attempt) -> None:
    """Look whether the artifact that the status names is there and whole."""
    artifact = attempt.artifact
    if artifact is None:
        attempt.show("building artifact")
        return
    try:
        await context.threads.run(context.storage.verify, artifact)
    except storage.ArtifactError as err:
        if isinstance(err, storage.CorruptError):
            text = f"failed to verify integrity of artifact: {err}"
            attempt.notices.append(steps.notice(VERIFICATION_FAILED, text, severity="error"))
        attempt.artifact = None
        attempt.clear(meta.ARTIFACT_IN_STORAGE)
        attempt.is_rebuilding = True
        attempt.show("building artifact: disappeared from storage")
        return
    attempt.artifact = msgspec.structs.replace(artifact, url=context.storage.url(artifact.path))


def _is_current(attempt: Attempt, candidate: Candidate) -> bool:
    """Say whether the artifact there is was made of this commit under the same rules."""
    return (
        attempt.artifact is not None
        and attempt.artifact.revision == candidate.revision
        and attempt.observed_ignore == attempt.obj.spec.ignore
    )


def _announce(attempt: Attempt, candidate: Candidate) -> None:
    """Note that the content is going to change."""
    attempt.is_rebuilding = True
    if attempt.artifact is not None and attempt.artifact.revision == candidate.revision:
        attempt.show("building artifact")
        return
    text = f"new upstream revision '{candidate.revision}'"
    attempt.set(meta.ARTIFACT_OUTDATED, "True", NEW_REVISION, text)
    attempt.show(f"building artifact: {text}")


async def _keep(
    context: ClusterContext, attempt: Attempt, repository: Repository, candidate: Candidate
) -> None:
    """Go on with the artifact there is."""
    if attempt.artifact is not None and not context.storage.is_attached(attempt.artifact):
        commit = await context.git.recall(repository, candidate)
        if commit is not None:
            context.storage.attach(attempt.artifact, commit.tree(attempt.obj.spec.ignore))
    if attempt.is_requested:
        text = f"no changes since last reconciliation: observed revision '{candidate.revision}'"
        attempt.notices.append(steps.Notice(text, GIT_SUCCEEDED, is_trace=True))
    _succeed(attempt, candidate.revision, candidate.revision)


async def _store(
    context: ClusterContext,
    attempt: Attempt,
    repository: Repository,
    reference: Reference,
    commit: Commit,
) -> None:
    """Turn a commit into an artifact.

    Raises:
        TransientError: the disk refused, or the content can be no artifact.
    """
    attempt.repository = repository
    try:
        artifact = await _archive(context, attempt, commit)
    except gitstore.DamagedError:
        await context.git.discard(repository)
        commit = await context.git.fetch(repository, reference, commit.candidate)
        artifact = await _archive(context, attempt, commit)
    attempt.artifact = artifact
    attempt.observed_ignore = attempt.obj.spec.ignore
    _succeed(attempt, commit.revision, _short(commit.subject))


async def _archive(context: ClusterContext, attempt: Attempt, commit: Commit) -> Artifact:
    attempt.condition = meta.STORAGE_OPERATION_FAILED
    content = commit.tree(attempt.obj.spec.ignore)
    try:
        return await context.threads.run(
            context.storage.put,
            owner(attempt.obj),
            f"{commit.sha}.tar.gz",
            commit.revision,
            content,
        )
    except gitstore.DamagedError:
        raise
    except (OSError, tree.UnsafePathError, gitstore.TooLargeError) as err:
        text = f"unable to archive artifact to storage: {err}"
        raise TransientError(ARCHIVE_FAILED, text) from err


def _succeed(attempt: Attempt, revision: str, subject: str) -> None:
    """Note the success, with an event where it is news."""
    text = f"stored artifact for revision '{revision}'"
    attempt.set(meta.ARTIFACT_IN_STORAGE, "True", meta.SUCCEEDED, text)
    if attempt.artifact is None or not (attempt.has_new_content or attempt.was_failing):
        return
    attempt.notices.append(
        steps.Notice(
            f"stored artifact for commit '{subject}'",
            NEW_ARTIFACT if attempt.has_new_content else meta.SUCCEEDED,
            metadata=(
                (f"{GROUP}/revision", attempt.artifact.revision),
                (f"{GROUP}/digest", attempt.artifact.digest),
            ),
        )
    )


def _short(subject: str) -> str:
    return subject if len(subject) <= SUBJECT_LENGTH else f"{subject[:SUBJECT_LENGTH]}..."
