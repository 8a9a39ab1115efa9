"""What the daemon says about itself: the JSON of its control socket and of ``status -o json``.

The functions here make the rows of sources and Kustomizations from the objects' own status: for the
daemon from its caches, for the CLI from the API server when no daemon runs. Both show the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from api import meta
from api.charts import HelmRepository
from api.external import ExternalArtifact
from api.helm import HelmReleaseStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.served import AnyKind
    from reconcilers.context import ClusterContext

_LONG_HEX = re.compile(r"[0-9a-f]{40,}")
_SHORT = 8
WAITING = "waiting to be reconciled"
EXTERNAL = "artifact is there"
"""What is said of an artifact of somebody else, who says nothing."""
STATIC = "Helm repository is Ready"
"""What is said of a registry, with which nothing is done; as in the flux CLI."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of everything in a report."""


class Row(Struct, frozen=True, kw_only=True):
    """One Flux object as a line of a table."""

    kind: str
    namespace: str
    name: str
    revision: str = ""
    """As in the status; shortened only when it is printed."""
    is_suspended: bool = False
    ready: str = "False"
    """``True``, ``False`` or ``Unknown``, the Ready condition's status."""
    reason: str = ""
    message: str = WAITING
    since: str = ""
    """When Ready last changed, RFC 3339."""
    corrections: int = 0
    """How many times drift was corrected since the daemon started."""


class Correction(Struct, frozen=True, kw_only=True):
    """One drift that was noticed, which the daemon puts right unless its owner is suspended."""

    time: str
    """When it was noticed, RFC 3339."""
    cluster: str
    owner: str
    """Whose object it is, ``Kind/namespace/name``."""
    object: str
    """What was changed, ``Kind/namespace/name``."""
    change: str
    """``edited``, ``deleted``, ``unlabelled`` or ``moved`` (to another owner, and left alone)."""
    who: str = ""
    """The field manager that changed it; empty where the API server does not tell."""
    fields: tuple[str, ...] = ()
    """What that manager wrote, some of it."""


class KindState(Struct, frozen=True, kw_only=True):
    """What the daemon does with one kind of one cluster."""

    kind: str
    mode: str
    """``reconciling``, ``observing`` or ``off``."""
    reason: str = ""
    """Why it is not reconciled, and by whom it is."""
    queued: int = 0
    """Keys waiting for a worker."""
    active: int = 0
    """Keys being reconciled, those that wait for health included."""


class ClusterState(Struct, frozen=True, kw_only=True):
    """One cluster."""

    name: str
    state: str
    """``connecting``, ``syncing``, ``synced`` or ``away``."""
    message: str = ""
    since: str = ""
    server: str = ""
    version: str = ""
    """The Kubernetes version of the API server."""
    kinds: tuple[KindState, ...] = ()
    watches: dict[str, str] = {}
    """``watch``, ``namespace`` or ``poll`` for each managed resource: how drift of it is seen."""
    rows: tuple[Row, ...] = ()


class Report(Struct, frozen=True, kw_only=True):
    """The whole answer."""

    version: str
    pid: int
    started: str
    memory_bytes: int
    config: str
    """The file the settings were read from."""
    config_error: str = ""
    """Why the file as it is now is not in use; empty while it is."""
    listeners: dict[str, str] = {}
    clusters: tuple[ClusterState, ...] = ()


def row(kind: str, obj: AnyKind, *, corrections: int = 0) -> Row:
    """Return the line that shows an object."""
    ready = _ready(getattr(obj.status, "conditions", ()))
    base = Row(
        kind=kind,
        namespace=obj.metadata.namespace,
        name=obj.metadata.name,
        revision=_revision(obj.status),
        is_suspended=is_suspended(obj),
        corrections=corrections,
    )
    if isinstance(obj, HelmRepository) and obj.is_static:
        return msgspec.structs.replace(base, ready="True", message=STATIC)
    if ready is None and isinstance(obj, ExternalArtifact) and obj.status.artifact:
        return msgspec.structs.replace(base, ready="True", message=EXTERNAL)
    if ready is None:
        return base
    return msgspec.structs.replace(
        base,
        ready=ready.status,
        reason=ready.reason,
        message=ready.message,
        since=ready.last_transition_time,
    )


def short_revision(text: str) -> str:
    """Shorten every hash of 40 digits or more to eight, as the flux CLI prints it."""
    return _LONG_HEX.sub(lambda found: found[0][:_SHORT], text)


def _ready(conditions: Iterable[meta.Condition]) -> meta.Condition | None:
    return next((each for each in conditions if each.type == meta.READY), None)


def _revision(status: object) -> str:
    """Return the revision an object is at, by whichever field its kind has for that."""
    artifact = getattr(status, "artifact", None)
    if artifact is not None:
        return str(artifact.revision)
    if isinstance(status, HelmReleaseStatus):
        return status.history[0].chart_version if status.history else status.last_attempted_revision
    return str(getattr(status, "last_applied_revision", "") or "")


def is_suspended(obj: AnyKind) -> bool:
    """Tell whether an object is suspended: by its spec, or a FluxInstance by its annotation."""
    switch = obj.metadata.annotations.get(meta.INSTANCE_RECONCILE, "")
    return bool(getattr(obj.spec, "suspend", False)) or switch.lower() == "disabled"


def watches(context: ClusterContext) -> dict[str, str]:
    """Return how drift of each kind is learnt, here and in the clusters that objects name."""
    found = {str(scope): str(mode) for scope, mode in sorted(context.tracker.modes().items())}
    for remote in sorted(context.remotes.all(), key=lambda each: each.name):
        for scope, mode in sorted(remote.tracker.modes().items()):
            found[f"{scope} in {remote.name}"] = str(mode)
    return found
