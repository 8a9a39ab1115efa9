"""What wakes whoever refers to an object: a watch that leads, and one that lags behind."""

from __future__ import annotations

import random

import pytest

from api.meta import ObjectRef
from kube import references, watch
from kube.objects import ObjectId, PartialMeta, PartialObject
from kube.references import ABSENT, SECRET, References
from runtime.clock import SystemClock
from runtime.metrics import Metrics

OWNER = ObjectRef("test", "Kustomization", "ns", "apps")
LOGIN = ObjectId("ns", "login", "", SECRET)
SCOPE = references._Scope("ns", SECRET)


class Followed(References):
    """References whose one watch is fed by hand."""

    def __init__(self) -> None:
        super().__init__(
            None,  # type: ignore[arg-type]  # nothing is asked
            clock=SystemClock(),
            rng=random.Random(1),
            metrics=Metrics(),
        )
        self.woken: list[str] = []
        self.wake = lambda _, cause: self.woken.append(cause)
        self.refer(OWNER, [LOGIN])
        self.watched = self._watches[SCOPE] = references._Watch()

    def tell(self, change: watch.Change[PartialObject]) -> None:
        self._take(SCOPE, self.watched, change)

    def wakes(self) -> int:
        woken = len(self.woken)
        self.woken.clear()
        return woken


def secret(uid: str, version: int) -> PartialObject:
    return PartialObject(
        metadata=PartialMeta(
            name=LOGIN.name, namespace="ns", uid=uid, resource_version=str(version)
        )
    )


@pytest.fixture
def followed() -> Followed:
    return Followed()


def test_version_that_was_read_wakes_nobody(followed: Followed) -> None:
    followed.tell(watch.Listed((secret("u", 5),)))
    followed.tell(watch.Synced(5, frozenset({("ns", "login")})))
    followed.note(OWNER, LOGIN, ("u", "5"))
    assert (followed.wakes(), followed.news(OWNER)) == (0, None)
    followed.tell(watch.Modified(secret("u", 6)))
    assert (followed.wakes(), followed.news(OWNER)) == (1, LOGIN)


def test_newer_version_known_when_an_older_one_is_noted_wakes(followed: Followed) -> None:
    followed.tell(watch.Synced(5, frozenset()))
    followed.tell(watch.Added(secret("u", 7)))
    followed.wakes()
    followed.note(OWNER, LOGIN, ("u", "6"))
    assert (followed.wakes(), followed.news(OWNER)) == (1, LOGIN)


@pytest.mark.parametrize("read", [("new", "9"), ABSENT])
def test_owner_that_knows_more_than_a_lagging_watch_is_woken_once(
    followed: Followed, read: references.Version
) -> None:
    """The watch is interrupted: the object was made anew, or deleted, and it does not tell yet."""
    followed.tell(watch.Listed((secret("old", 5),)))
    followed.tell(watch.Synced(5, frozenset({("ns", "login")})))
    followed.note(OWNER, LOGIN, read)
    assert followed.wakes() == 1, "the read may be from before the object that is known"
    assert followed.news(OWNER) == LOGIN
    for _ in range(3):
        followed.note(OWNER, LOGIN, read)
    assert (followed.wakes(), followed.news(OWNER)) == (0, None)


def test_change_after_the_watch_has_caught_up_wakes_again(followed: Followed) -> None:
    followed.tell(watch.Synced(5, frozenset()))
    for _ in range(2):
        followed.note(OWNER, LOGIN, ("u", "6"))
    assert followed.wakes() == 1
    followed.tell(watch.Added(secret("u", 6)))
    assert (followed.wakes(), followed.news(OWNER)) == (0, None)
    followed.tell(watch.Deleted(secret("u", 7)))
    assert (followed.wakes(), followed.news(OWNER)) == (1, LOGIN)
    followed.note(OWNER, LOGIN, ABSENT)
    assert followed.news(OWNER) is None
