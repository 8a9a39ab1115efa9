"""The name beside an artifact that always means the newest one; ``status.url`` is its address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconcilers import steps
from reconcilers.source import artifacts

if TYPE_CHECKING:
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from reconcilers.source.objects import S

LATEST: Final = "latest.tar.gz"
"""The name beside every artifact but an index."""
LINK_FAILED: Final = "SymlinkUpdateFailed"
UP_TO_DATE: Final = "ArtifactUpToDate"


async def check_storage(context: ClusterContext, attempt: Attempt[S], name: str = LATEST) -> None:
    """Do what `artifacts.check_storage` does, and let ``status.url`` follow what it finds."""
    await artifacts.check_storage(context, attempt)
    if attempt.artifact is None:
        attempt.observed["url"] = ""
    elif getattr(attempt.obj.status, "url", ""):
        folder = artifacts.owner(attempt.obj).folder
        attempt.observed["url"] = context.storage.url(f"{folder}/{name}")


async def update(context: ClusterContext, attempt: Attempt[S], name: str = LATEST) -> None:
    """Let the name mean the run's artifact; it is a convenience, as in Flux, and may fail."""
    if attempt.artifact is None:
        return
    try:
        link = await context.threads.run(context.storage.link, attempt.artifact, name)
        attempt.observed["url"] = link
    except OSError as err:
        text = f"failed to update status URL symlink: {err}"
        attempt.notices.append(steps.Notice(text, LINK_FAILED, is_trace=True))


def tell_unchanged(attempt: Attempt[S], revision: str) -> None:
    """Say that the artifact is current, to whoever asked for the run."""
    if attempt.is_requested:
        text = f"artifact up-to-date with remote revision: '{revision}'"
        attempt.notices.append(steps.Notice(text, UP_TO_DATE, is_trace=True))
