"""One object on its way through an apply: what is wanted, where it goes, what was found."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.meta import ObjectRef
    from kube.client import Client
    from kube.desired import Desired, ManifestReader
    from kube.discovery import Discovery
    from kube.ignore import Pointer, Rules
    from kube.ledger import Ledger
    from kube.objects import ObjectId, Resource
    from kube.ownership import Identity
    from runtime.clock import Clock


class Verdict(enum.Enum):
    """What an apply has to do about one object."""

    UNCHANGED = enum.auto()
    SKIP = enum.auto()
    CREATE = enum.auto()
    CONFIGURE = enum.auto()
    TAKE_OVER = enum.auto()
    """Configure, after other managers' leftovers were merged into ours."""
    RECREATE = enum.auto()
    """Delete and create: an immutable field changes, and force allows it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A desired object and how its kind is served."""

    desired: Desired
    """Its id carries the server's view of the namespace."""
    resource: Resource


@dataclass(frozen=True, slots=True)
class Session:
    """What every step of one owner's apply needs."""

    client: Client
    discovery: Discovery
    ledger: Ledger
    clock: Clock
    owner: ObjectRef
    identity: Identity
    reader: ManifestReader
    force: bool
    verify: bool
    at_interval: bool
    rules: Rules | None = None
    """Which fields are left to others."""
    after_write: Callable[[ObjectId, bytes], None] | None = None
    """Called with the answer to each write."""
    ignored: dict[ObjectId, tuple[Pointer, ...]] = field(default_factory=dict)
    """The fields of each object that are."""
    bodies: dict[ObjectId, bytes] = field(default_factory=dict)
    """What is sent instead of the manifest where ignored fields are to stay as they are."""
