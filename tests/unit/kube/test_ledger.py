"""The books: what is drift, when it is judged, and what is never told."""

from __future__ import annotations

import random

import pytest

from api import meta
from api.meta import ObjectRef
from kube import baseline
from kube.desired import Desired, Flag, digest
from kube.judgement import Drift, DriftKind
from kube.ledger import UNCLAIMED_LIMIT, VERIFY_EVERY_S, Ledger
from kube.objects import ObjectId
from tests.support.booked import APPS, HandClock, metadata

OTHER = ObjectRef("test", "Kustomization", "flux-system", "other")
A, B = (ObjectId("ns", name, "", "ConfigMap") for name in "ab")


class Books(Ledger):
    """A ledger that notes what it tells."""

    def __init__(self, remembered: dict[bytes, bytes] | None = None) -> None:
        self.clock = HandClock()
        super().__init__(self.clock, rng=random.Random(1), remembered=remembered)
        self.told: list[tuple[ObjectRef, ObjectId, DriftKind]] = []
        self.on_drift = self._note

    def _note(self, owner: ObjectRef, obj: ObjectId, drift: Drift) -> None:
        self.told.append((owner, obj, drift.kind))

    def applied(self, obj: ObjectId = A, owner: ObjectRef = APPS, version: int = 10) -> Desired:
        desired = wanted(obj)
        self.settle(owner, desired, metadata(version, owner=owner))
        return desired


def wanted(obj: ObjectId = A, body: bytes = b"1") -> Desired:
    return Desired(obj, "v1", digest(body))


@pytest.fixture
def books() -> Books:
    return Books()


def test_applied_object_is_current(books: Books) -> None:
    desired = books.applied()
    assert books.is_current(APPS, desired)
    assert not books.is_current(APPS, wanted(body=b"2"))
    assert not books.is_current(APPS, wanted(B))


def test_event_of_our_own_write_is_no_drift(books: Books) -> None:
    desired = books.applied()
    books.observe(A, metadata(10))
    assert books.told == []
    assert books.is_current(APPS, desired)


def test_change_of_our_fields_is_drift_told_once(books: Books) -> None:
    desired = books.applied()
    for version in (11, 12, 13):
        books.observe(A, metadata(version, fields="less", by="editor"))
    assert books.told == [(APPS, A, DriftKind.EDITED)]
    assert not books.is_current(APPS, desired)


def test_drift_names_the_manager_that_wrote_last(books: Books) -> None:
    books.applied()
    seen: list[Drift] = []
    books.on_drift = lambda _, __, drift: seen.append(drift)
    books.observe(A, metadata(11, fields="less", by="editor"))
    assert seen == [Drift(DriftKind.EDITED, "editor", 11)]


def test_nothing_is_told_of_objects_that_somebody_else_wrote_for_their_owner(books: Books) -> None:
    desired = books.applied()
    books.applied(B, owner=OTHER)
    books.unsettle(APPS)
    assert not books.is_current(APPS, desired)
    books.observe(A, metadata(11, fields="other"))
    assert books.told == []
    assert books.is_current(OTHER, wanted(B))


def test_drift_after_a_correction_is_told_again(books: Books) -> None:
    books.applied()
    books.observe(A, metadata(11, fields="less"))
    books.applied(version=12)
    books.observe(A, metadata(13, fields="less"))
    assert len(books.told) == 2


def test_change_of_what_others_own_is_no_drift(books: Books) -> None:
    desired = books.applied()
    books.observe(A, metadata(11, by="kubectl-edit"))
    assert books.told == []
    assert books.is_current(APPS, desired)


def test_event_from_before_our_write_is_not_taken_in(books: Books) -> None:
    desired = books.applied(version=10)
    books.observe(A, metadata(9, fields="less"))
    assert books.told == []
    assert books.is_current(APPS, desired)


def test_event_of_our_write_that_overtakes_its_answer_is_no_drift(books: Books) -> None:
    books.applied(version=10)
    with books.processing(APPS):
        books.observe(A, metadata(11, fields="new"))
        books.settle(APPS, wanted(body=b"2"), metadata(11, fields="new"))
    assert books.told == []
    assert books.is_current(APPS, wanted(body=b"2"))


def test_edit_that_overtakes_the_answer_to_our_write_is_drift(books: Books) -> None:
    books.applied(version=10)
    with books.processing(APPS):
        books.observe(A, metadata(12, fields="less"))
        books.settle(APPS, wanted(), metadata(11))
        assert books.told == []
    assert books.told == [(APPS, A, DriftKind.EDITED)]


def test_nothing_is_judged_while_the_owner_is_processed(books: Books) -> None:
    books.applied(version=10)
    with books.processing(APPS):
        with books.processing(APPS):
            books.observe(A, metadata(11, fields="less"))
        assert books.told == []
        books.applied(version=12)
    assert books.told == []


def test_processing_of_another_owner_holds_nothing_back(books: Books) -> None:
    books.applied()
    with books.processing(OTHER):
        books.observe(A, metadata(11, fields="less"))
        assert books.told == [(APPS, A, DriftKind.EDITED)]


def test_suspect_is_told_only_when_it_is_confirmed(books: Books) -> None:
    books.applied(version=10)
    books.suspect(A, 11)
    assert books.told == []
    assert books.suspects() == [(A, 11)]
    books.vanished(A, 11)
    assert books.told == [(APPS, A, DriftKind.DELETED)]
    assert books.suspects() == []


def test_suspect_that_was_applied_again_meanwhile_is_no_longer_one(books: Books) -> None:
    books.applied(version=10)
    books.suspect(A, 11)
    desired = books.applied(version=12)
    books.vanished(A, 11)
    assert books.told == []
    assert books.is_current(APPS, desired)


def test_suspect_that_is_found_unchanged_is_acquitted(books: Books) -> None:
    desired = books.applied(version=10)
    books.suspect(A, 11)
    books.observe(A, metadata(10))
    books.acquit(A, 11)
    assert books.suspects() == []
    assert books.is_current(APPS, desired)


def test_newer_suspicion_survives_an_older_acquittal(books: Books) -> None:
    books.applied(version=10)
    books.suspect(A, 12)
    books.acquit(A, 11)
    assert books.suspects() == [(A, 12)]


def test_suspect_older_than_our_write_is_not_suspected(books: Books) -> None:
    books.applied(version=10)
    books.suspect(A, 9)
    assert books.suspects() == []


def test_suspicion_from_after_our_write_outlives_its_late_answer(books: Books) -> None:
    books.applied(version=10)
    with books.processing(APPS):
        books.suspect(A, 13)
        books.applied(version=12)
    assert books.suspects() == [(A, 13)]


def test_suspicion_outlives_a_state_from_before_it(books: Books) -> None:
    books.applied(version=10)
    books.suspect(A, 13)
    books.observe(A, metadata(12))
    assert books.suspects() == [(A, 13)]
    books.observe(A, metadata(14))
    assert books.suspects() == []


def test_newer_suspicion_survives_an_older_look(books: Books) -> None:
    books.applied(version=10)
    with books.processing(APPS):
        books.suspect(A, 14)
        books.vanished(A, 11)
        books.applied(version=12)
    assert books.suspects() == [(A, 14)]


def test_list_that_lacks_what_we_wrote_before_the_answer_came_is_a_suspicion(
    books: Books,
) -> None:
    books.set_inventory(APPS, [(A, "v1"), (B, "v1")])
    with books.processing(APPS):
        books.miss(A, 13)
        books.applied(version=12)
        books.miss(B, 13)
        books.applied(B, version=14)
    assert books.suspects() == [(A, 13)]


def test_list_from_before_our_write_is_none(books: Books) -> None:
    books.set_inventory(APPS, [(A, "v1")])
    books.miss(A, 11)
    assert books.suspects() == []
    books.applied(version=12)
    assert books.suspects() == []


def test_suspect_that_nobody_owns_any_more_is_not_known_to_whoever_claims_it(
    books: Books,
) -> None:
    books.applied(version=10)
    books.suspect(A, 11)
    books.drop_owner(APPS)
    books.set_inventory(OTHER, [(A, "v1")])
    assert books.live(A) is None


def test_suspects_wait_for_the_end_of_the_processing(books: Books) -> None:
    books.applied()
    with books.processing(APPS):
        books.suspect(A, 11)
        assert books.suspects() == []
        books.suspected.clear()
    assert books.suspected.is_set()
    assert books.suspects() == [(A, 11)]


def test_lost_label_is_told_as_such(books: Books) -> None:
    books.applied()
    books.observe(A, metadata(11, fields="less", owner=None))
    assert books.told == [(APPS, A, DriftKind.UNLABELLED)]


def test_label_of_a_stranger_is_a_move(books: Books) -> None:
    books.applied()
    books.observe(A, metadata(11, fields="less", owner=OTHER))
    assert books.told == [(APPS, A, DriftKind.MOVED)]


def test_object_of_two_owners_is_judged_by_the_one_it_names(books: Books) -> None:
    books.applied(owner=APPS, version=10)
    books.applied(owner=OTHER, version=11)
    books.observe(A, metadata(12, fields="less", owner=OTHER))
    assert books.told == [(OTHER, A, DriftKind.EDITED)]
    assert books.owners(A) == {APPS, OTHER}


def test_recreated_object_is_drift(books: Books) -> None:
    books.applied()
    books.observe(A, metadata(11, uid="another"))
    assert books.told == [(APPS, A, DriftKind.EDITED)]


def test_object_that_is_being_deleted_is_judged_when_it_is_gone(books: Books) -> None:
    books.applied()
    books.observe(A, metadata(11, fields="less", deletionTimestamp="2026-01-01T00:00:00Z"))
    assert books.told == []


def test_object_with_reconciliation_switched_off_is_left_alone(books: Books) -> None:
    books.applied()
    books.observe(A, metadata(11, fields="less", annotations={meta.RECONCILE: "disabled"}))
    assert books.told == []


def test_object_that_is_only_kept_in_existence_may_be_edited_but_not_deleted(books: Books) -> None:
    books.settle_present(APPS, wanted(), metadata(10))
    books.observe(A, metadata(11, fields="less", owner=None))
    assert books.told == []
    books.vanished(A, 12)
    assert books.told == [(APPS, A, DriftKind.DELETED)]


def test_object_created_because_it_was_absent_may_be_edited(books: Books) -> None:
    books.settle(APPS, Desired(A, "v1", digest(b"1"), Flag.IF_NOT_PRESENT), metadata(10))
    books.observe(A, metadata(11, fields="less"))
    assert books.told == []


def test_object_that_left_the_inventory_is_nobodys_drift(books: Books) -> None:
    books.applied()
    books.set_inventory(APPS, [])
    books.observe(A, metadata(11, fields="less"))
    books.suspect(A, 12)
    assert books.told == []
    assert books.suspects() == []
    assert books.owners(A) == frozenset()


def test_inventory_keeps_what_is_known_of_objects_that_stay(books: Books) -> None:
    desired = books.applied()
    books.applied(B)
    books.set_inventory(APPS, [(A, "v1")])
    assert books.is_current(APPS, desired)
    assert dict(books.owned(APPS)) == {A: "v1"}


def test_object_seen_before_its_inventory_is_known_at_once(books: Books) -> None:
    books.observe(A, metadata(10))
    books.set_inventory(APPS, [(A, "v1")])
    assert books.live(A) is not None


def test_objects_without_an_inventory_are_kept_within_a_bound(books: Books) -> None:
    for number in range(UNCLAIMED_LIMIT + 5):
        books.observe(ObjectId("ns", str(number), "", "ConfigMap"), metadata(number))
    assert len(books._unclaimed) == UNCLAIMED_LIMIT
    last = ObjectId("ns", str(UNCLAIMED_LIMIT + 4), "", "ConfigMap")
    books.set_inventory(APPS, [(last, "v1")])
    assert books.live(last) is not None


def test_baseline_of_an_earlier_process_is_recalled_by_uid() -> None:
    before = Books()
    desired = before.applied()
    after = Books(remembered=dict(before.pairs()))
    after.set_inventory(APPS, [(A, "v1")])
    assert not after.is_current(APPS, desired)
    after.observe(A, metadata(10))
    assert after.is_current(APPS, desired)
    assert list(after.pairs()) == list(before.pairs())


def test_edit_between_two_processes_is_told() -> None:
    before = Books()
    desired = before.applied()
    after = Books(remembered=dict(before.pairs()))
    after.set_inventory(APPS, [(A, "v1")])
    after.observe(A, metadata(11, fields="less"))
    assert after.told == [(APPS, A, DriftKind.EDITED)]
    assert not after.is_current(APPS, desired)


def test_baseline_nobody_claimed_yet_is_saved_again() -> None:
    pair = baseline.pack(baseline.Baseline("u", b"d" * 16, b"o" * 16))
    assert list(Books(remembered=dict([pair])).pairs()) == [pair]


def test_verification_turns_are_spread_over_the_day(books: Books) -> None:
    ids = [ObjectId("ns", str(number), "", "ConfigMap") for number in range(1000)]
    books.set_inventory(APPS, [(obj, "v1") for obj in ids])
    start, due = books.clock.seconds, set[ObjectId]()
    for tenth in range(1, 11):
        now = start + tenth * VERIFY_EVERY_S / 10
        share = books.due_for_verification(APPS, now) - due
        assert 60 <= len(share) <= 140
        due |= share
    assert due == set(ids)


def test_apply_gives_the_object_its_turn(books: Books) -> None:
    books.applied()
    now = books.clock.seconds
    assert books.due_for_verification(APPS, now + VERIFY_EVERY_S - 1) == frozenset()
    assert books.due_for_verification(APPS, now + VERIFY_EVERY_S) == {A}


def test_owner_of_another_kind_does_not_see_our_labels(books: Books) -> None:
    desired = books.applied()
    books.observe(A, metadata(11), kind="FluxInstance")
    assert books.is_current(APPS, desired)


def test_absent_object_is_not_current_and_known_to_be_gone(books: Books) -> None:
    desired = books.applied()
    books.settle_absent(A)
    assert books.is_gone(A)
    assert not books.is_current(APPS, desired)


async def test_subscriber_hears_of_its_objects_once_for_many_events(books: Books) -> None:
    books.applied(A)
    books.applied(B)
    with books.feed.subscribe([A]) as changes:
        for version in (11, 12, 13):
            books.observe(A, metadata(version))
            books.observe(B, metadata(version))
        assert await changes.wait() == {A}
        books.observe(A, metadata(14))
        assert await changes.wait() == {A}
