"""The books of drift under arbitrary orders of writes, answers, events and reads.

The model is an API server of two objects that keeps, as a real one does, one order of changes. What
is free is when each change becomes known: by the answer to our write, by the watch, by a read of an
object that left the watch, by a new list. However that goes, once all is known, an object that is
not as it was applied last is pending, and none passes for current.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from api.meta import ObjectRef
from kube.desired import Desired, digest
from kube.fights import Fights
from kube.ledger import Ledger
from kube.objects import ObjectId, PartialMeta
from reconcilers.kustomization.drifts import Drifts, Listener
from tests.support import booked

if TYPE_CHECKING:
    from collections.abc import Callable

OWNER = ObjectRef("test", "Kustomization", "flux-system", "apps")
OBJECTS = [ObjectId("ns", name, "", "ConfigMap") for name in "ab"]
OBJECT = st.sampled_from(OBJECTS)


@dataclass(frozen=True)
class Stored:
    """An object in etcd."""

    uid: int
    version: int
    fields: int
    """Which fields we own: the manifest's number where we applied it, another after an edit."""
    is_labelled: bool = True

    @property
    def metadata(self) -> PartialMeta:
        owner = OWNER if self.is_labelled else None
        return booked.metadata(
            self.version, uid=str(self.uid), fields=str(self.fields), owner=owner, by="editor"
        )


@dataclass(frozen=True)
class Reading:
    """A read of a suspect on its way back."""

    version: int
    """Of the suspicion."""
    found: Stored | None


class DriftMachine(RuleBasedStateMachine):
    """One owner, what it applied, and everybody else."""

    def __init__(self) -> None:
        super().__init__()
        clock = booked.HandClock()
        self.ledger = Ledger(clock, rng=random.Random(1))
        self.drifts = Drifts(Fights(clock), clock)
        self.ledger.on_drift = Listener(self.drifts, lambda *_: None)
        self.revision = 10
        self.manifest = 1
        self.stored: dict[ObjectId, Stored] = {}
        self.events: list[Callable[[], None]] = []
        self.answers: list[Callable[[], None]] = []
        self.readings: dict[ObjectId, Reading] = {}
        self.applied: dict[ObjectId, Desired] = {}
        self.run: contextlib.ExitStack | None = None
        self.known = self.drifts.all(OWNER)
        self.ledger.set_inventory(OWNER, [(obj, "v1") for obj in OBJECTS])

    # What the API server does ---------------------------------------------------------------

    def store(self, obj: ObjectId, new: Stored | None) -> None:
        """Keep a new state and let those know who watch by the label."""
        self.revision += 1
        old, version = self.stored.pop(obj, None), self.revision
        if new is not None:
            new = self.stored[obj] = replace(new, version=version)
        if new is not None and new.is_labelled:
            metadata = new.metadata
            self.events.append(lambda: self.ledger.observe(obj, metadata))
        elif old is not None and old.is_labelled:
            self.events.append(lambda: self.ledger.suspect(obj, version))

    # What others do -------------------------------------------------------------------------

    @rule(obj=OBJECT, number=st.integers(-2, -1))
    def edit(self, obj: ObjectId, number: int) -> None:
        if obj in self.stored:
            self.store(obj, replace(self.stored[obj], fields=number))

    @rule(obj=OBJECT)
    def write_the_status(self, obj: ObjectId) -> None:
        if obj in self.stored:
            self.store(obj, self.stored[obj])

    @rule(obj=OBJECT)
    def take_the_label(self, obj: ObjectId) -> None:
        """Take a label that we own, and so the ownership of it."""
        if obj in self.stored:
            self.store(obj, replace(self.stored[obj], fields=-3, is_labelled=False))

    @rule(obj=OBJECT)
    def delete(self, obj: ObjectId) -> None:
        if obj in self.stored:
            self.store(obj, None)

    @rule(obj=OBJECT, is_labelled=st.booleans())
    def create(self, obj: ObjectId, is_labelled: bool) -> None:
        if obj not in self.stored:
            self.store(obj, Stored(self.revision, 0, -1, is_labelled))

    # What we do -----------------------------------------------------------------------------

    @precondition(lambda self: self.run is None)
    @rule(number=st.integers(1, 2))
    def begin(self, number: int) -> None:
        self.manifest = number
        self.known = self.drifts.all(OWNER)
        self.run = contextlib.ExitStack()
        self.run.enter_context(self.ledger.processing(OWNER))

    @precondition(lambda self: self.run is not None)
    @rule(obj=OBJECT, is_heard=st.booleans())
    def apply(self, obj: ObjectId, is_heard: bool) -> None:
        """Write an object; where the connection breaks nobody hears the answer."""
        desired = Desired(obj, "v1", digest(b"%d" % self.manifest))
        old = self.stored.get(obj)
        wanted = Stored(old.uid if old else self.revision, 0, self.manifest)
        if old is None or replace(old, version=0) != wanted:
            self.store(obj, wanted)
        metadata = self.stored[obj].metadata
        if is_heard:
            self.answers.append(lambda: self.settle(desired, metadata))

    def settle(self, desired: Desired, metadata: PartialMeta) -> None:
        self.ledger.settle(OWNER, desired, metadata)
        self.applied[desired.id] = desired

    @precondition(lambda self: self.answers)
    @rule()
    def hear(self) -> None:
        self.answers.pop(0)()

    @precondition(lambda self: self.run is not None)
    @rule()
    def end(self) -> None:
        """End a run that has all its answers; it took care of what it wrote."""
        while self.answers:
            self.answers.pop(0)()
        if self.run is not None:
            self.run.close()
        self.run = None

    @rule()
    def correct(self) -> None:
        """Put right what is pending, in one go."""
        if self.run is None:
            self.begin(self.manifest)
            for obj in self.known:
                self.apply(obj, is_heard=True)
            self.end()
            self.drifts.settle(OWNER, self.known)

    # What becomes known ---------------------------------------------------------------------

    @precondition(lambda self: self.events)
    @rule()
    def watch(self) -> None:
        self.events.pop(0)()

    @rule()
    def list(self) -> None:
        """List anew, as after an event that the server has forgotten."""
        self.events.clear()
        for obj, each in self.stored.items():
            if each.is_labelled:
                self.ledger.observe(obj, each.metadata)
        for obj in self.ledger.claimed("", "ConfigMap"):
            if obj not in self.stored or not self.stored[obj].is_labelled:
                self.ledger.miss(obj, self.revision)

    @rule()
    def look(self) -> None:
        """Send the reads that are due."""
        for obj, version in self.ledger.suspects():
            self.readings.setdefault(obj, Reading(version, self.stored.get(obj)))

    @precondition(lambda self: self.readings)
    @rule()
    def see(self) -> None:
        obj = next(iter(self.readings))
        reading = self.readings.pop(obj)
        if reading.found is None:
            self.ledger.vanished(obj, reading.version)
        else:
            self.ledger.observe(obj, reading.found.metadata)
            self.ledger.acquit(obj, reading.version)

    def teardown(self) -> None:
        """Let everything become known, then compare."""
        self.end()
        while self.events:
            self.watch()
        while self.readings or self.ledger.suspects():
            self.look()
            while self.readings:
                self.see()
        pending = self.drifts.all(OWNER)
        for obj, desired in self.applied.items():
            found = self.stored.get(obj)
            is_right = found is not None and (found.is_labelled, digest(b"%d" % found.fields)) == (
                True,
                desired.digest,
            )
            assert is_right or not self.ledger.is_current(OWNER, desired), obj
            assert is_right or obj in pending, f"{obj} is not as applied, and nobody was told"


TestDrifts = DriftMachine.TestCase
TestDrifts.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
