"""``status.history``: the last five states that were applied, newest first.

Pure. An entry is a build and what came of it; the same again counts up the entry and moves it to
the front. Unlike Flux, a run that found nothing to do adds nothing: it would be its only write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api import durations
from api.meta import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT: Final = 5


def record(
    history: tuple[Snapshot, ...],
    *,
    digest: str,
    reason: str,
    took_s: float,
    now: str,
    metadata: Mapping[str, str],
) -> tuple[Snapshot, ...]:
    """Return the history with one more run in it.

    Args:
        history: as it was.
        digest: of the build.
        reason: of the Ready condition that the run ended with.
        took_s: how long it took, in seconds.
        now: RFC 3339, when it ended.
        metadata: the revision, and the origin revision where there is one.
    """
    key = (digest, reason)
    known = next((item for item in history if _key(item) == key), None)
    latest = msgspec.structs.replace(
        known
        or Snapshot(
            digest=digest,
            first_reconciled=now,
            last_reconciled=now,
            last_reconciled_duration="",
            last_reconciled_status=reason,
            total_reconciliations=0,
        ),
        last_reconciled=now,
        last_reconciled_duration=durations.format_go(took_s),
        total_reconciliations=(known.total_reconciliations if known else 0) + 1,
        metadata=dict(metadata),
    )
    others = [item for item in history if _key(item) != key]
    return (latest, *others)[:LIMIT]


def _key(item: Snapshot) -> tuple[str, str]:
    return (item.digest, item.last_reconciled_status)
