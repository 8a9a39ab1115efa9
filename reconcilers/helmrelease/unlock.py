"""Unlocks a release whose last operation did not end: its daemon, or its helm, was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from reconcilers.helmrelease import records, release, words

if TYPE_CHECKING:
    from reconcilers.helmrelease.work import Work


async def unlock(work: Work) -> None:
    """Rewrite the newest record as a failure, and say so.

    Raises:
        ReleaseTooLarge: the record does not fit any more.
        ApiError: the API server refused, or did not answer.
    """
    attempt, stale = work.attempt, work.last
    if stale is None:
        raise AssertionError("what is locked has a record")
    known = next((each for each in attempt.status.history if each.version == stale.version), None)
    work.last = records.unlocked(stale)
    await work.storage.update(work.last)
    action = known.action if known else ""
    oci_digest = known.oci_digest if known else work.chart.oci_digest
    newest = await release.note(attempt, work.last, action, oci_digest)
    text = words.unlocked(newest, stale.status)
    attempt.condition(meta.RELEASED, "False", words.PENDING_RELEASE, text)
    attempt.notice(words.PENDING_RELEASE, text)
    attempt.summarise()
