"""Status conditions as Flux writes them: pure functions on ``tuple[Condition, ...]``.

Rules, which follow Flux so that its CLI and dashboards read the same story:

- ``lastTransitionTime`` changes only when status, reason or message do.
- Reconciling and Stalled exclude each other: setting one as true removes the other.
- Messages are cut at 32768 bytes, the last three of which are dots.
- The list is kept in one order: Stalled, Reconciling, Ready, then by observedGeneration descending,
  then by type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from api import meta
from api.meta import Condition
from runtime import clock

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Sequence

Status = Literal["True", "False", "Unknown"]
Conditions = tuple[Condition, ...]

MAX_MESSAGE_BYTES = 32768

_FIRST = {meta.STALLED: 0, meta.RECONCILING: 1, meta.READY: 2}
_EXCLUDES = {meta.STALLED: meta.RECONCILING, meta.RECONCILING: meta.STALLED}


def get(conditions: Conditions, type_: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Conditions, type_: str) -> bool:
    """Tell whether the condition exists and its status is True."""
    return _has_status(conditions, type_, "True")


def is_false(conditions: Conditions, type_: str) -> bool:
    """Tell whether the condition exists and its status is False."""
    return _has_status(conditions, type_, "False")


def is_unknown(conditions: Conditions, type_: str) -> bool:
    """Tell whether the condition is absent or its status is Unknown, as Flux counts it."""
    return not (is_true(conditions, type_) or is_false(conditions, type_))


def set_(
    conditions: Conditions,
    type_: str,
    status: Status,
    reason: str,
    message: str,
    *,
    generation: int,
    now: dt.datetime,
) -> Conditions:
    """Return the conditions with one added or changed.

    Args:
        conditions: the list so far.
        type_: the type of the condition to set.
        status: its status.
        reason: PascalCase.
        message: for people; cut at `MAX_MESSAGE_BYTES`.
        generation: the object's generation that was looked at.
        now: aware; used to the second, and only if status, reason or message differ.
    """
    message = cut(message)
    old = get(conditions, type_)
    is_same = old is not None and (old.status, old.reason, old.message) == (status, reason, message)
    new = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=old.last_transition_time if old and is_same else clock.rfc3339(now),
        observed_generation=generation,
    )
    dropped = {type_}
    if status == "True" and type_ in _EXCLUDES:
        dropped.add(_EXCLUDES[type_])
    return sort((*remove(conditions, *dropped), new))


def remove(conditions: Conditions, *types: str) -> Conditions:
    """Return the conditions without those types."""
    return tuple(condition for condition in conditions if condition.type not in types)


def sort(conditions: Conditions) -> Conditions:
    """Return the conditions in the order of the module's docstring."""
    return tuple(
        sorted(conditions, key=lambda c: (_FIRST.get(c.type, 3), -c.observed_generation, c.type))
    )


def cut(message: str) -> str:
    """Return ``message``, shortened to `MAX_MESSAGE_BYTES` of UTF-8 with ``...`` at the end."""
    # What is no text, such as half of a pair of surrogates, could not be sent as JSON.
    encoded = message.encode(errors="replace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[: MAX_MESSAGE_BYTES - 3].decode(errors="ignore") + "..."


def summarise(
    conditions: Conditions,
    *,
    order: Sequence[str],
    negative: Collection[str],
    generation: int,
    now: dt.datetime,
) -> Conditions:
    """Return the conditions with Ready computed from the others, as Flux's sources do.

    The first that exists of these decides: a negative condition that is True (Ready is False), a
    positive one that is False (False), a positive one that is True (True), a negative one that is
    False (True), any that is Unknown (Unknown). Within each, ``order`` decides. Ready takes over
    the reason and the message. Without any of the conditions Ready stays as it is.

    Args:
        conditions: the list so far.
        order: the types that count, most important first.
        negative: those of them that are bad when they are True.
        generation: the object's generation that was looked at.
        now: aware; see `set_`.
    """
    found = [c for type_ in order if (c := get(conditions, type_)) is not None]
    if not found:
        return conditions
    decisive = min(found, key=lambda c: _rank(c, is_negative=c.type in negative))
    statuses: tuple[Status, ...] = ("False", "False", "True", "True", "Unknown")
    status = statuses[_rank(decisive, is_negative=decisive.type in negative)]
    return set_(
        conditions,
        meta.READY,
        status,
        decisive.reason,
        decisive.message,
        generation=generation,
        now=now,
    )


def _has_status(conditions: Conditions, type_: str, status: Status) -> bool:
    condition = get(conditions, type_)
    return condition is not None and condition.status == status


def _rank(condition: Condition, *, is_negative: bool) -> int:
    if condition.status not in {"True", "False"}:
        return 4
    is_bad = (condition.status == "True") == is_negative
    if is_bad:
        return 0 if is_negative else 1
    return 3 if is_negative else 2
