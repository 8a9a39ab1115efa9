"""Tries every object of a revision before anything of it is written.

Helm checks a manifest against the cluster's schemas; the API server's own dry run checks more. What
is known to be as wanted is not tried. What needs a kind or a namespace that the same release brings
cannot be tried, and is not held against it.

::

    InvalidError    objects that the API server would refuse; the message names them
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube import preview
from kube.preview import Outcome
from kube.wording import ObjectError
from reconcilers.helmrelease import drift

if TYPE_CHECKING:
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.bundle import Bundle


class InvalidError(Exception):
    """Objects that the API server would refuse."""


async def check(attempt: Attempt, wanted: Bundle) -> None:
    """Try the objects of a revision.

    Raises:
        InvalidError: some would be refused, or have fields that their kind does not have.
        ApiError: the API server did not answer.
    """
    tracker = attempt.target.tracker
    unsure = [each for each in wanted.desired if not tracker.is_current(attempt.ref, each)]
    texts = [
        f"{each.id}: unknown field{'s' if len(each.unknown) > 1 else ''} "
        + ", ".join(f'"{path}"' for path in each.unknown)
        for each in unsure
        if each.unknown
    ]
    if unsure and not texts:
        with await attempt.context.threads.open(wanted.open) as reader:
            session = drift.session(attempt, reader, rules=None)
            try:
                found = await preview.apply(session, unsure)
            except ObjectError as err:
                raise InvalidError(err.text) from err
        texts = [each.note for each in found if each.outcome is Outcome.REFUSED]
    if texts:
        raise InvalidError("\n".join(texts))
