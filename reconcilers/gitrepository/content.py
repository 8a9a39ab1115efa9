"""The steps that turn a GitRepository's reference into an artifact.

A poll of an unchanged repository is one request to its server and none to the API server; a push is
one more to the Git server and one status patch.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from api import meta, served
from reconcilers import steps
from reconcilers.gitrepository import remote
from reconcilers.source import artifacts, secrets
from runtime.errors import TerminalError
from sources import gitref, gitstore, tree
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from api.artifact import Artifact
    from api.source import GitRepository
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from sources.git import Commit, Repository
    from sources.gitref import Candidate, Reference

SUBJECT_LENGTH: Final = 50
"""Characters of a commit's subject that events quote, as in Flux."""
GIT_SUCCEEDED: Final = "GitOperationSucceeded"


async def produce(context: ClusterContext, attempt: Attempt[GitRepository]) -> None:
    """Run the steps: storage, source, artifact. The first that fails ends it.

    Raises:
        GitOpsError: what the status is to say.
    """
    paths = served.unserved(attempt.obj)
    if paths:
        raise TerminalError(meta.NOT_SERVED, served.message(paths))
    await artifacts.check_storage(context, attempt)
    repository = await remote.repository(context, attempt.obj)
    reference = gitref.reference(attempt.obj.spec.ref)
    try:
        with context.metrics.fetch(attempt.obj.KIND):
            candidate = await context.git.resolve(repository, reference)
            commit: Commit | None = None
            if not _is_current(attempt, candidate):
                artifacts.announce(attempt, candidate.revision)
                commit = await context.git.fetch(repository, reference, candidate)
        if commit is None:
            await _keep(context, attempt, repository, candidate)
            return
    except CredentialsError as err:
        raise secrets.unusable(err) from err
    await _store(context, attempt, repository, reference, commit)


def _is_current(attempt: Attempt[GitRepository], candidate: Candidate) -> bool:
    """Say whether the artifact there is was made of this commit under the same rules."""
    return (
        attempt.artifact is not None
        and attempt.artifact.revision == candidate.revision
        and attempt.obj.status.observed_ignore == attempt.obj.spec.ignore
    )


async def _keep(
    context: ClusterContext,
    attempt: Attempt[GitRepository],
    repository: Repository,
    candidate: Candidate,
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
    attempt: Attempt[GitRepository],
    repository: Repository,
    reference: Reference,
    commit: Commit,
) -> None:
    """Turn a commit into an artifact.

    Raises:
        TransientError: the disk refused, or the content can be no artifact.
    """
    try:
        artifact = await _archive(context, attempt, commit)
    except gitstore.DamagedError:
        await context.git.discard(repository)
        commit = await context.git.fetch(repository, reference, commit.candidate)
        artifact = await _archive(context, attempt, commit)
    attempt.artifact = artifact
    if attempt.has_new_content:
        attempt.afterwards.append(partial(context.git.tidy, repository))
    attempt.observed["observed_ignore"] = attempt.obj.spec.ignore
    _succeed(attempt, commit.revision, _short(commit.subject))


async def _archive(
    context: ClusterContext, attempt: Attempt[GitRepository], commit: Commit
) -> Artifact:
    attempt.condition = meta.STORAGE_OPERATION_FAILED
    content = commit.tree(attempt.obj.spec.ignore)
    try:
        return await context.threads.run(
            context.storage.put,
            artifacts.owner(attempt.obj),
            f"{commit.sha}.tar.gz",
            commit.revision,
            content,
        )
    except gitstore.DamagedError:
        raise
    except (OSError, tree.UnsafePathError, gitstore.TooLargeError) as err:
        raise artifacts.unarchived(err) from err


def _succeed(attempt: Attempt[GitRepository], revision: str, subject: str) -> None:
    artifacts.succeed(attempt, revision, f"stored artifact for commit '{subject}'")


def _short(subject: str) -> str:
    return subject if len(subject) <= SUBJECT_LENGTH else f"{subject[:SUBJECT_LENGTH]}..."
