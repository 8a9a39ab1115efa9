"""The steps between a source's content and its artifact that are the same for every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from api.source import GROUP
from reconcilers import steps
from runtime.errors import TransientError
from sources import storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.artifact import Artifact
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from reconcilers.source.objects import S, SourceObject

ARCHIVE_FAILED: Final = "ArchiveOperationFailed"
VERIFICATION_FAILED: Final = "ArtifactVerificationFailed"
NEW_ARTIFACT: Final = "NewArtifact"
NEW_REVISION: Final = "NewRevision"


def owner(obj: SourceObject) -> storage.Owner:
    """Return what the artifact store calls an object."""
    return storage.Owner(obj.KIND, obj.metadata.namespace, obj.metadata.name)


async def check_storage(context: ClusterContext, attempt: Attempt[S]) -> None:
    """Look whether the artifact that the status names is there and whole; drop it where not."""
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


def announce(attempt: Attempt[S], revision: str, what: str = "new upstream revision") -> None:
    """Note that the content is going to change, before it is fetched.

    Args:
        attempt: the run.
        revision: what there is now.
        what: how to call that.
    """
    attempt.is_rebuilding = True
    if attempt.artifact is not None and attempt.artifact.revision == revision:
        attempt.show("building artifact")
        return
    text = f"{what} '{revision}'"
    attempt.set(meta.ARTIFACT_OUTDATED, "True", NEW_REVISION, text)
    attempt.show(f"building artifact: {text}")


async def store(
    context: ClusterContext, attempt: Attempt[S], put: Callable[[], Artifact]
) -> Artifact:
    """Put content into the store, in a thread.

    Args:
        context: the cluster.
        attempt: the run; a failure now is one of the storage.
        put: writes the artifact, as `storage.Storage.put` does; what it raises is passed on, but
            OSError.

    Raises:
        TransientError: the disk refused.
    """
    attempt.condition = meta.STORAGE_OPERATION_FAILED
    try:
        return await context.threads.run(put)
    except OSError as err:
        raise unarchived(err) from err


def unarchived(error: Exception) -> TransientError:
    """Return the leaf for content that could not be made an artifact."""
    return TransientError(ARCHIVE_FAILED, f"unable to archive artifact to storage: {error}")


def succeed(attempt: Attempt[S], revision: str, told: str, *, stored: str = "") -> None:
    """Note the success, with an event where it is news.

    Args:
        attempt: the run, with its artifact.
        revision: what the condition names.
        told: what the event says, such as ``stored artifact for commit 'subject'``.
        stored: what the condition says instead of ``stored artifact for revision '…'``.
    """
    text = stored or f"stored artifact for revision '{revision}'"
    attempt.set(meta.ARTIFACT_IN_STORAGE, "True", meta.SUCCEEDED, text)
    if attempt.artifact is None or not (attempt.has_new_content or attempt.was_failing):
        return
    attempt.notices.append(
        steps.Notice(
            told,
            NEW_ARTIFACT if attempt.has_new_content else meta.SUCCEEDED,
            metadata=(
                (f"{GROUP}/revision", attempt.artifact.revision),
                (f"{GROUP}/digest", attempt.artifact.digest),
            ),
        )
    )
