"""``status.history``: which revisions of a release are known, newest first. Pure functions.

A revision is good when it was deployed and none of its tests failed. The history reaches back to
the last good revision before the newest, which is what a failed upgrade goes back to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from api.helm import Snapshot

History = tuple["Snapshot", ...]
LIMIT: Final = 5
"""Revisions kept where none before the newest is good, and under ``RetryOnFailure``."""
_FAILED: Final = "Failed"
_SERVED: Final = frozenset({"deployed", "superseded"})


def latest(history: History) -> Snapshot | None:
    """Return the newest revision."""
    return history[0] if history else None


def previous(history: History, *, ignores_tests: bool) -> Snapshot | None:
    """Return the newest good revision before the newest one."""
    return next((each for each in history[1:] if is_good(each, ignores_tests=ignores_tests)), None)


def is_good(snapshot: Snapshot, *, ignores_tests: bool) -> bool:
    """Whether a revision was deployed, and its tests did not fail."""
    return snapshot.status in _SERVED and (ignores_tests or not has_failed_test(snapshot))


def is_tested(snapshot: Snapshot) -> bool:
    """Whether tests were run, even if the chart has none."""
    return snapshot.test_hooks is not None


def has_failed_test(snapshot: Snapshot) -> bool:
    """Whether a test failed."""
    return any(hook.phase == _FAILED for hook in (snapshot.test_hooks or {}).values())


def truncated(history: History, *, ignores_tests: bool, retries: bool) -> History:
    """Return the history without what nobody needs after a success.

    Args:
        history: newest first.
        ignores_tests: whether failed tests do not count.
        retries: whether failures are retried and never undone, so that nothing is gone back to.
    """
    if retries:
        return history[:LIMIT]
    for index, each in enumerate(history[1:], start=1):
        if is_good(each, ignores_tests=ignores_tests):
            return history[: index + 1]
    return history[:LIMIT]


def recorded(history: History, newest: Snapshot, *others: Snapshot) -> History:
    """Return the history after records were written.

    A revision that is known is rewritten in place and keeps its tests and the digest of its
    artifact. Of those that are not known only the newest comes in, at the top.

    Args:
        history: newest first.
        newest: the revision that an action was about.
        others: what else it has written: revisions that it took the place of.
    """
    rewritten = {each.version: each for each in (*others, newest)}
    kept = tuple(_rewritten(old, rewritten.get(old.version)) for old in history)
    is_known = any(old.version == newest.version for old in history)
    return kept if is_known else (newest, *kept)


def _rewritten(old: Snapshot, new: Snapshot | None) -> Snapshot:
    if new is None:
        return old
    tests = old.test_hooks if new.test_hooks is None else new.test_hooks
    return msgspec.structs.replace(
        new, test_hooks=tests, oci_digest=new.oci_digest or old.oci_digest
    )
