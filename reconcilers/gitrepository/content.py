"""The steps that turn a GitRepository's reference into an artifact.

A poll of an unchanged repository is one request to its server and none to the API server; a push is
one more to the Git server and one status patch.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from api import meta
from reconcilers import steps
from reconcilers.gitrepository import includes, remote, verification
from reconcilers.source import artifacts, secrets
from runtime.errors import TransientError
from sources import composed, gitmodules, gitref, gitstore, tree
from sources.auth.errors import CredentialsError
from sources.giterrors import OPERATION_FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.artifact import Artifact
    from api.source import GitRepository
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from sources.composed import ComposedTree
    from sources.git import Commit, Repository
    from sources.gitref import Candidate

SUBJECT_LENGTH: Final = 50
"""Characters of a commit's subject that events quote, as in Flux."""
GIT_SUCCEEDED: Final = "GitOperationSucceeded"
INCLUDE_CHANGE: Final = "IncludeChange"


async def produce(context: ClusterContext, attempt: Attempt[GitRepository]) -> None:
    """Run the steps: storage, source, includes, artifact. The first that fails ends it.

    Raises:
        GitOpsError: what the status is to say.
    """
    await artifacts.check_storage(context, attempt)
    attempt.forget_refusal()
    repository = await remote.repository(context, attempt.obj)
    attempt.condition = meta.INCLUDE_UNAVAILABLE
    included = includes.find(context, attempt.obj)
    attempt.clear(meta.INCLUDE_UNAVAILABLE)
    attempt.condition = meta.FETCH_FAILED
    try:
        await _update(context, attempt, repository, included)
    except CredentialsError as err:
        raise secrets.unusable(err) from err


async def _update(
    context: ClusterContext,
    attempt: Attempt[GitRepository],
    repository: Repository,
    included: Sequence[Artifact],
) -> None:
    """Fetch and store what the reference means now, unless that is what there is."""
    reference = gitref.reference(attempt.obj.spec.ref)
    with context.metrics.fetch(attempt.obj.KIND):
        candidate = await context.git.resolve(repository, reference)
        commit: Commit | None = None
        if not _is_current(attempt, candidate, included):
            _announce(attempt, candidate, included)
            commit = await context.git.fetch(repository, reference, candidate)
    if commit is None:
        await _keep(context, attempt, repository, candidate)
        return
    try:
        await _store(context, attempt, repository, commit, included)
    except gitstore.DamagedError as err:
        await context.git.mend(repository, err)
        commit = await context.git.fetch(repository, reference, commit.candidate)
        try:
            await _store(context, attempt, repository, commit, included)
        except gitstore.DamagedError as again:
            raise artifacts.unarchived(again) from again
    if attempt.has_new_content:
        attempt.afterwards.append(partial(context.git.tidy, repository))
    _succeed(attempt, commit.revision, _short(commit.subject))


def _is_current(
    attempt: Attempt[GitRepository], candidate: Candidate, included: Sequence[Artifact]
) -> bool:
    """Say whether the artifact there is was made of this commit in the same way."""
    spec, status = attempt.obj.spec, attempt.obj.status
    return (
        attempt.artifact is not None
        and attempt.artifact.revision == candidate.revision
        and status.observed_ignore == spec.ignore
        and status.observed_recurse_submodules == spec.recurse_submodules
        and status.observed_sparse_checkout == spec.sparse_checkout
        and not includes.has_changed(attempt.obj, included)
        and not verification.is_due(attempt.obj)
    )


def _announce(
    attempt: Attempt[GitRepository], candidate: Candidate, included: Sequence[Artifact]
) -> None:
    """Note that the content is going to change."""
    artifacts.announce(attempt, candidate.revision)
    is_same = attempt.artifact is not None and attempt.artifact.revision == candidate.revision
    if is_same and includes.has_changed(attempt.obj, included):
        text = "included artifacts differ from last observed includes"
        attempt.set(meta.ARTIFACT_OUTDATED, "True", INCLUDE_CHANGE, text)
        attempt.show(f"building artifact: {text}")


async def _keep(
    context: ClusterContext,
    attempt: Attempt[GitRepository],
    repository: Repository,
    candidate: Candidate,
) -> None:
    """Go on with the artifact there is."""
    spec = attempt.obj.spec
    is_alone = not spec.include and not spec.recurse_submodules
    if is_alone and attempt.artifact and not context.storage.is_attached(attempt.artifact):
        commit = await context.git.recall(repository, candidate)
        if commit is not None:
            content = composed.ComposedTree(
                [commit.files()], spec.ignore, sparse=spec.sparse_checkout
            )
            context.storage.attach(attempt.artifact, content)
    if spec.verify is None:
        verification.forget(attempt)
    if attempt.is_requested:
        text = f"no changes since last reconciliation: observed revision '{candidate.revision}'"
        attempt.notices.append(steps.Notice(text, GIT_SUCCEEDED, is_trace=True))
    _succeed(attempt, candidate.revision, candidate.revision)


async def _store(
    context: ClusterContext,
    attempt: Attempt[GitRepository],
    repository: Repository,
    commit: Commit,
    included: Sequence[Artifact],
) -> None:
    """Turn a commit into an artifact.

    Raises:
        TransientError: the disk refused, or the content can be no artifact.
        gitstore.DamagedError: an object store has lost something.
    """
    attempt.condition = meta.FETCH_FAILED
    attempt.clear(meta.FETCH_FAILED)
    spec = attempt.obj.spec
    await verification.verify(context, attempt, repository, commit)
    parts = includes.parts(context, attempt.obj, included)
    try:
        content = await compose(context, attempt.obj, repository, commit, parts)
    except TransientError as err:
        if err.reason in {includes.COPY_FAILURE, artifacts.ARCHIVE_FAILED}:
            attempt.condition = meta.STORAGE_OPERATION_FAILED
        raise
    attempt.condition = meta.STORAGE_OPERATION_FAILED
    attempt.artifact = await _archive(context, attempt, commit, content)
    attempt.observed |= {
        "observed_ignore": spec.ignore,
        "observed_recurse_submodules": spec.recurse_submodules,
        "observed_include": spec.include,
        "observed_sparse_checkout": spec.sparse_checkout,
        "included_artifacts": tuple(included),
    }


async def compose(
    context: ClusterContext,
    obj: GitRepository,
    repository: Repository,
    commit: Commit,
    included: Sequence[composed.Part] = (),
) -> ComposedTree:
    """Put together what an object's artifact is to contain.

    Args:
        context: the cluster.
        obj: the object.
        repository: its remote.
        commit: what its reference means.
        included: what is copied in.

    Raises:
        TransientError: a submodule cannot be fetched, or a sparse path is not there.
        gitstore.DamagedError: an object store has lost something.
    """
    spec, parts = obj.spec, [commit.files()]
    if spec.recurse_submodules:
        found = await context.git.submodules(repository, commit, spec.sparse_checkout)
        parts += gitmodules.parts(found)
    content = composed.ComposedTree(
        parts, spec.ignore, sparse=spec.sparse_checkout, included=included
    )
    try:
        await context.threads.run(content.entries)
    except composed.MissingDirectoryError as err:
        text = f"failed to sparse checkout directories : {err}"
        raise TransientError(OPERATION_FAILED, text) from err
    except composed.MisplacedError as err:
        include = spec.include[included.index(err.part)]
        raise TransientError(includes.COPY_FAILURE, includes.failure(include, err)) from err
    except (tree.UnsafePathError, gitstore.TooLargeError) as err:
        raise artifacts.unarchived(err) from err
    return content


async def _archive(
    context: ClusterContext,
    attempt: Attempt[GitRepository],
    commit: Commit,
    content: ComposedTree,
) -> Artifact:
    try:
        return await context.threads.run(
            context.storage.put,
            artifacts.owner(attempt.obj),
            f"{commit.sha}.tar.gz",
            commit.revision,
            content,
            previous=attempt.artifact,
        )
    except gitstore.DamagedError:
        raise
    except OSError as err:
        raise artifacts.unarchived(err) from err


def _succeed(attempt: Attempt[GitRepository], revision: str, subject: str) -> None:
    artifacts.succeed(attempt, revision, f"stored artifact for commit '{subject}'")


def _short(subject: str) -> str:
    return subject if len(subject) <= SUBJECT_LENGTH else f"{subject[:SUBJECT_LENGTH]}..."
