"""The books of what we own in one cluster, and the judgement of what happens to it.

For every object of every inventory this remembers the live state in digests, as a watch or an
answer to our own write told it, and the baseline: what it was right after we applied it. Drift is
a comparison of the two. No requests are made here.

Invariants:

- A live state never gives way to an older resourceVersion, so that events from before our own
  write cannot look like somebody's edit.
- While an owner is processed nothing is judged; what happened meanwhile is judged on leaving,
  against the baseline that the processing left.
- The same drift is told once, until the object is applied again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from typing import TYPE_CHECKING, Final

from kube.baseline import Baseline, key_of, pack, unpack
from kube.desired import DIGEST_SIZE, Desired, Flag
from kube.feed import Feed
from kube.judgement import Drift, DriftKind, Entry, is_old_news, judge
from kube.ownership import (
    IDENTITIES,
    Identity,
    Live,
    last_writer,
    look,
    read,
    written_by,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from api.meta import ObjectRef
    from kube.ignore import FieldPath
    from kube.objects import ObjectId, PartialMeta
    from runtime.clock import Clock

VERIFY_EVERY_S: Final = 24 * 3600.0
"""Every object gets a true dry run at least this often."""
UNCLAIMED_LIMIT: Final = 20_000
"""Live states kept of labelled objects that are in no inventory (yet); oldest go first."""

UNWANTED: Final = bytes(DIGEST_SIZE)
"""In a baseline, in place of the digest of what was applied: the object is as nobody wants it."""


def _nobody_listens(_: ObjectRef, __: ObjectId, ___: Drift) -> None:
    """Stand in until somebody wants to hear of drift."""


class Ledger:
    """What is owned in one cluster.

    Args:
        clock: monotonic seconds for the verification turns.
        remembered: digests of an earlier process, see `kube.baseline.load`.
        rng: spreads the verification turns.
        identities: how each kind of owner signs.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        remembered: dict[bytes, bytes] | None = None,
        rng: random.Random | None = None,
        identities: Mapping[str, Identity] = IDENTITIES,
    ) -> None:
        self.identities = identities
        """How each kind of owner signs what it applies to this cluster."""
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._remembered = remembered or {}
        self._entries: dict[ObjectId, Entry] = {}
        self._owned: dict[ObjectRef, set[ObjectId]] = {}
        self._unclaimed: dict[ObjectId, Live] = {}
        self._drifts: dict[tuple[ObjectRef, ObjectId], Drift] = {}
        self._writers: dict[ObjectId, tuple[str, tuple[str, ...]]] = {}
        self._busy: dict[ObjectRef, int] = {}
        self._dirty: dict[ObjectRef, set[ObjectId]] = {}
        self._suspects: dict[ObjectId, int] = {}
        self.feed = Feed()
        self.suspected = asyncio.Event()
        """Set when `suspects` may have something to say."""
        self.changed = asyncio.Event()
        """Set when `pairs` has something new to save."""
        self.on_drift: Callable[[ObjectRef, ObjectId, Drift], None] = _nobody_listens

    # What is owned --------------------------------------------------------------------------

    def set_inventory(self, owner: ObjectRef, entries: Iterable[tuple[ObjectId, str]]) -> None:
        """Say which objects an owner owns, with the API version of each; replaces what was said."""
        versions = dict(entries)
        for obj in self._owned.get(owner, set()) - versions.keys():
            self._disown(owner, obj)
        for obj, version in versions.items():
            self._own(owner, obj, version)
        if not versions:
            self._owned.pop(owner, None)
        self._released(owner)

    def drop_owner(self, owner: ObjectRef) -> None:
        """Forget an owner and all that only it owns."""
        self.set_inventory(owner, ())
        self._dirty.pop(owner, None)

    def forget(self, owner: ObjectRef, obj: ObjectId) -> None:
        """Take one object out of an owner's inventory, because it is being deleted."""
        self._disown(owner, obj)

    def owners(self, obj: ObjectId) -> frozenset[ObjectRef]:
        """Return everybody whose inventory names an object."""
        entry = self._entries.get(obj)
        return entry.owners if entry else frozenset()

    def owned(self, owner: ObjectRef) -> Iterator[tuple[ObjectId, str]]:
        """Iterate over an owner's objects with the API version of each."""
        for obj in self._owned.get(owner, ()):
            yield obj, self._entries[obj].version

    def baseline(self, obj: ObjectId) -> Baseline | None:
        """Return what an object was right after we applied it, if we did."""
        entry = self._entries.get(obj)
        return entry.baseline if entry else None

    def live(self, obj: ObjectId) -> Live | None:
        """Return what is known of the live object; None where it is absent or not known."""
        entry = self._entries.get(obj)
        return entry.live if entry else None

    def is_gone(self, obj: ObjectId) -> bool:
        """Whether an object was looked for and does not exist."""
        entry = self._entries.get(obj)
        return entry is not None and entry.is_gone

    def ignore(self, owner: ObjectRef, desired: Desired, fields: tuple[FieldPath, ...]) -> None:
        """Leave some fields of an object to others.

        What was known of its ownership is not comparable when the fields are others than before,
        so that the server has to be asked about the object.
        """
        entry = self._entries.get(desired.id)
        if fields == (entry.ignored if entry else ()):
            return
        entry = self._own(owner, desired.id, desired.version)
        entry.ignored, entry.baseline = fields, None

    def look(self, owner_kind: str, obj: ObjectId, metadata: PartialMeta) -> Live:
        """Condense an object's metadata, its ignored fields left out of the ownership."""
        entry = self._entries.get(obj)
        return look(metadata, self.identities[owner_kind], entry.ignored if entry else ())

    def is_current(self, owner: ObjectRef, desired: Desired) -> bool:
        """Whether an object was applied as desired, by this owner, and nobody touched it since."""
        entry = self._entries.get(desired.id)
        if entry is None or entry.baseline is None or entry.live is None:
            return False
        return entry.baseline.desired == desired.digest and judge(owner, entry) is None

    # What we did ----------------------------------------------------------------------------

    def record(self, owner: ObjectRef, desired: Desired, applied_raw: bytes) -> Live:
        """Note the answer to our own write, which becomes the baseline."""
        return self.settle(owner, desired, read(applied_raw))

    def settle(self, owner: ObjectRef, desired: Desired, metadata: PartialMeta) -> Live:
        """Note that an object is as desired, and this metadata is how that looks."""
        live = self.look(owner.kind, desired.id, metadata)
        is_kept = desired.flags & Flag.IF_NOT_PRESENT
        self._settle(owner, desired, live, b"" if is_kept else live.ownership)
        return live

    def settle_present(self, owner: ObjectRef, desired: Desired, metadata: PartialMeta) -> None:
        """Note an object that is only kept in existence; whoever changes it may."""
        self._settle(owner, desired, self.look(owner.kind, desired.id, metadata), b"")

    def tolerate(self, obj: ObjectId) -> None:
        """Note that an object is not as desired and stays so; only its next change is news."""
        entry = self._entries.get(obj)
        if entry is not None and entry.live is not None:
            entry.baseline = Baseline(entry.live.uid, UNWANTED, entry.live.ownership)
            entry.tolerated = entry.live.resource_version
            for each in entry.owners:
                self._drifts.pop((each, obj), None)

    def unsettle(self, owner: ObjectRef) -> None:
        """Forget how an owner's objects were left, since somebody else wrote them for it."""
        for obj in self._owned.get(owner, ()):
            entry = self._entries[obj]
            entry.baseline, entry.tolerated = None, 0
            self._drifts.pop((owner, obj), None)

    def settle_absent(self, obj: ObjectId) -> None:
        """Note that an object is not there, as the server said just now."""
        entry = self._entries.get(obj)
        if entry:
            entry.live, entry.is_gone = None, True

    def _settle(self, owner: ObjectRef, desired: Desired, live: Live, ownership: bytes) -> None:
        entry = self._own(owner, desired.id, desired.version)
        entry.baseline = Baseline(live.uid, desired.digest, ownership)
        entry.verified_s = self._clock.monotonic()
        entry.is_gone, entry.tolerated = False, 0
        if entry.live is None or entry.live.resource_version <= live.resource_version:
            entry.live = live
        self._clear(desired.id, live.resource_version)
        if entry.missed > live.resource_version:  # it went while our answer was on its way
            self.suspect(desired.id, entry.missed)
        self.changed.set()
        for each in entry.owners:
            self._drifts.pop((each, desired.id), None)
        self._happened(desired.id, entry)

    # What happened --------------------------------------------------------------------------

    def observe(self, obj: ObjectId, metadata: PartialMeta, kind: str = "Kustomization") -> None:
        """Take in an object's metadata from a watch, a list or a read.

        Args:
            obj: the object.
            metadata: its metadata.
            kind: the kind of owner whose labels and manager count.
        """
        identity = self.identities[kind]
        entry = self._entries.get(obj)
        if entry is None:
            self._hold(obj, look(metadata, identity))
            return
        if all(owner.kind != kind for owner in entry.owners) or is_old_news(metadata, entry):
            return
        live = look(metadata, identity, entry.ignored)
        entry.live, entry.is_gone, entry.missed = live, False, 0
        self._clear(obj, live.resource_version)
        self._recall(entry)
        if entry.baseline is not None and entry.baseline.ownership != live.ownership:
            who = last_writer(metadata, identity.manager)
            is_ours = who == identity.manager
            self._writers[obj] = who, () if is_ours else written_by(metadata, who)
        self._happened(obj, entry)

    def suspect(self, obj: ObjectId, resource_version: int) -> None:
        """Note that an object left a watch: deleted, or no longer labelled. A read must tell.

        Args:
            obj: the object.
            resource_version: when it left; what we know from later stands.
        """
        self._unclaimed.pop(obj, None)
        entry = self._entries.get(obj)
        if entry is None:
            self.feed.publish(obj)  # somebody may wait for the end of what was given up
            return
        if entry.live and entry.live.resource_version > resource_version:
            return
        self._suspects[obj] = resource_version
        self.suspected.set()

    def vanished(self, obj: ObjectId, resource_version: int) -> None:
        """Note that a suspect was looked for and does not exist."""
        entry = self._entries.get(obj)
        if entry is None or (entry.live and entry.live.resource_version > resource_version):
            return
        entry.live, entry.is_gone = None, True
        self.acquit(obj, resource_version)
        self._happened(obj, entry)

    def miss(self, obj: ObjectId, resource_version: int) -> None:
        """Note that a complete list does not have an object.

        Args:
            obj: the object.
            resource_version: of the list.
        """
        entry = self._entries.get(obj)
        if entry is not None and entry.live is None:
            entry.missed = resource_version
        elif entry is not None:
            self.suspect(obj, resource_version)

    def acquit(self, obj: ObjectId, resource_version: int) -> None:
        """Drop a suspicion after a look, unless the object left its watch once more meanwhile."""
        if self._suspects.get(obj) == resource_version:
            del self._suspects[obj]

    def suspects(self) -> list[tuple[ObjectId, int]]:
        """Return the suspects whose read is due: those of owners that are not being processed."""
        return [
            (obj, version)
            for obj, version in self._suspects.items()
            if obj in self._entries and not self._is_processed(self._entries[obj])
        ]

    def claimed(self, group: str, kind: str) -> list[ObjectId]:
        """Return the objects of one kind that are in some inventory."""
        return [obj for obj in self._entries if obj.kind == kind and obj.group == group]

    @contextlib.contextmanager
    def processing(self, owner: ObjectRef) -> Iterator[None]:
        """Hold back all judgement about an owner's objects until the block ends."""
        self._busy[owner] = self._busy.get(owner, 0) + 1
        try:
            yield
        finally:
            self._busy[owner] -= 1
            if not self._busy[owner]:
                del self._busy[owner]
                for obj in self._dirty.pop(owner, set()):
                    self._tell(owner, obj)
                self.suspected.set()

    def due_for_verification(self, owner: ObjectRef, now: float) -> frozenset[ObjectId]:
        """Return the objects whose turn for a true dry run has come.

        Args:
            owner: whose objects.
            now: monotonic seconds.
        """
        return frozenset(
            obj
            for obj in self._owned.get(owner, ())
            if now - self._entries[obj].verified_s >= VERIFY_EVERY_S
        )

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over what the baseline file should hold, what nobody claimed yet included."""
        yield from self._remembered.items()
        for entry in self._entries.values():
            if entry.baseline is not None:
                yield pack(entry.baseline)

    # ----------------------------------------------------------------------------------------

    def _claimed(self, owner: ObjectRef, obj: ObjectId, version: str) -> None:
        """Hear that an owner has one more object; for a subclass that watches."""

    def _released(self, owner: ObjectRef) -> None:
        """Hear that an owner may have fewer objects; for a subclass that watches."""

    def _own(self, owner: ObjectRef, obj: ObjectId, version: str) -> Entry:
        entry = self._entries.get(obj)
        if entry is None:
            turn = self._clock.monotonic() - self._rng.uniform(0, VERIFY_EVERY_S)
            entry = Entry(sys.intern(version), frozenset(), verified_s=turn)
            entry.live = self._unclaimed.pop(obj, None)
            self._recall(entry)
            self._entries[obj] = entry
        entry.version = sys.intern(version)
        if owner not in entry.owners:
            entry.owners = self._shared(owner, entry.owners | {owner})
            self._owned.setdefault(owner, set()).add(obj)
            self._claimed(owner, obj, version)
        return entry

    def _shared(self, owner: ObjectRef, owners: frozenset[ObjectRef]) -> frozenset[ObjectRef]:
        """Return one object for equal sets, since thousands of objects have the same owner."""
        neighbour = next(iter(self._owned.get(owner, ())), None)
        if neighbour is not None and self._entries[neighbour].owners == owners:
            return self._entries[neighbour].owners
        return owners

    def _disown(self, owner: ObjectRef, obj: ObjectId) -> None:
        self._owned.get(owner, set()).discard(obj)
        self._drifts.pop((owner, obj), None)
        entry = self._entries.get(obj)
        if entry is None:
            return
        entry.owners -= {owner}
        if not entry.owners:
            del self._entries[obj]
            self._writers.pop(obj, None)
            is_suspect = self._suspects.pop(obj, None) is not None
            if entry.live is not None and not is_suspect:
                self._hold(obj, entry.live)

    def _hold(self, obj: ObjectId, live: Live) -> None:
        self._unclaimed[obj] = live
        if len(self._unclaimed) > UNCLAIMED_LIMIT:
            del self._unclaimed[next(iter(self._unclaimed))]

    def _recall(self, entry: Entry) -> None:
        """Take the baseline of an earlier process, should it know the object."""
        if entry.baseline is None and entry.live is not None and self._remembered:
            digests = self._remembered.pop(key_of(entry.live.uid), None)
            if digests is not None:
                entry.baseline = unpack(entry.live.uid, digests)

    def _clear(self, obj: ObjectId, resource_version: int) -> None:
        """Drop a suspicion, unless the object left its watch after it was seen as it is now."""
        if self._suspects.get(obj, resource_version + 1) <= resource_version:
            del self._suspects[obj]

    def _is_processed(self, entry: Entry) -> bool:
        return any(owner in self._busy for owner in entry.owners)

    def _happened(self, obj: ObjectId, entry: Entry) -> None:
        self.feed.publish(obj)
        for owner in entry.owners:
            if owner in self._busy:
                self._dirty.setdefault(owner, set()).add(obj)
            else:
                self._tell(owner, obj)

    def _tell(self, owner: ObjectRef, obj: ObjectId) -> None:
        """Report an object's drift, unless the same was reported before."""
        entry = self._entries.get(obj)
        if entry is None or owner not in entry.owners:
            return
        kind = judge(owner, entry)
        if kind is None:
            self._drifts.pop((owner, obj), None)
            return
        version = entry.live.resource_version if entry.live else 0
        unknown: tuple[str, tuple[str, ...]] = ("", ())
        is_gone = kind is DriftKind.DELETED
        who, fields = unknown if is_gone else self._writers.get(obj, unknown)
        drift, told = Drift(kind, who, version, fields), self._drifts.get((owner, obj))
        if told is None or (told.kind, told.who) != (kind, who):
            self._drifts[owner, obj] = drift
            self.on_drift(owner, obj, drift)
