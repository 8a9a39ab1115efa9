"""Counts the requests that an API server answered, from its own records.

The audit log tells who asked; a counter of the API server's metrics tells of all clients together,
and serves where somebody else started the API server.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from devcluster.api import APPLY

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.api import Api

_TOTAL = re.compile(rb"^apiserver_request_total\{([^}]*)\} (\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_OWN_BUSINESS = frozenset(
    {
        "",  # discovery and the like, which name no resource
        "buckets",
        "events",
        "fluxinstances",
        "fluxreports",
        "gitrepositories",
        "helmcharts",
        "helmreleases",
        "helmrepositories",
        "kustomizations",
        "ocirepositories",
        "receivers",
        "secrets",  # credentials; no fixture here manages one
    }
)
_LONG = {"watch", "WATCH", "CONNECT"}
_BACKGROUND = {"leases"}


@dataclass(frozen=True, slots=True)
class Kind:
    """What requests are counted by."""

    verb: str
    """get, list, patch, apply, create, update, delete, deletecollection; ``dry-run`` of any."""
    resource: str
    """Plural, with its subresource: ``kustomizations/status``."""

    @property
    def is_own_business(self) -> bool:
        """Whether a reconciler sends such requests about itself, not about what it manages."""
        return self.resource.partition("/")[0] in _OWN_BUSINESS


class Source(Protocol):
    """Where counts come from."""

    def take(self) -> Counter[Kind]:
        """Return what has been answered since the last call."""
        ...


def settled(source: Source, *, quiet_s: float = 0.3, limit_s: float = 5.0) -> Counter[Kind]:
    """Return what was answered up to a moment of quiet.

    Args:
        source: where counts come from.
        quiet_s: so long nothing may be answered.
        limit_s: when to stop waiting for that.
    """
    pause = threading.Event()
    deadline = time.monotonic() + limit_s
    counts = source.take()
    while time.monotonic() < deadline:
        pause.wait(quiet_s)
        more = source.take()
        if not more:
            break
        counts += more
    return counts


def managed(counts: Counter[Kind]) -> int:
    """Return how many requests were about managed objects."""
    return sum(number for kind, number in counts.items() if not kind.is_own_business)


class AuditLog:
    """Reads the records of one user from an audit log, from where it stopped the last time.

    Args:
        path: the log.
        user: whose requests count; those made in somebody else's name included.
    """

    def __init__(self, path: Path, user: str) -> None:
        self._path = path
        self._user = user
        self._offset = 0

    def take(self) -> Counter[Kind]:
        """Return what has been answered since the last call, without watches and leases."""
        counts: Counter[Kind] = Counter()
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                record = json.loads(line)
                if record["user"].get("username") == self._user and record["verb"] not in _LONG:
                    counts[_kind(record)] += 1
        return _without_background(counts)


class OthersTotals:
    """The requests of all clients but one.

    Args:
        source: the counts of all clients.
        own: what that one has asked so far; it goes on counting.
    """

    def __init__(self, source: Source, own: Counter[Kind]) -> None:
        self._source, self._own = source, own
        self._last = own.copy()

    def take(self) -> Counter[Kind]:
        """Return what was answered to others since the last call."""
        counts = self._source.take()
        counts.subtract(self._own - self._last)
        self._last = self._own.copy()
        return +counts


class Totals:
    """Counts the requests of all clients by ``apiserver_request_total``.

    Args:
        api: an administrator's connection; its own requests for the metrics are left out.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._last = self._read()

    def take(self) -> Counter[Kind]:
        """Return what has been answered since the last call, without watches and leases."""
        now = self._read()
        counts = now - self._last
        self._last = now
        return _without_background(counts)

    def _read(self) -> Counter[Kind]:
        _, text = self._api.raw("GET", "/metrics")
        counts: Counter[Kind] = Counter()
        for labels, value in _TOTAL.findall(text):
            named = dict(_LABEL.findall(labels.decode()))
            if named["verb"] not in _LONG and named.get("resource"):
                resource = "/".join(filter(None, (named["resource"], named.get("subresource"))))
                verb = "dry-run" if named.get("dry_run") else named["verb"].lower()
                counts[Kind(verb, resource)] += int(float(value))
        return counts


def _without_background(counts: Counter[Kind]) -> Counter[Kind]:
    """Leave out what goes on all the time, whatever happens."""
    return Counter({kind: n for kind, n in counts.items() if kind.resource not in _BACKGROUND})


def asked(method: str, path: str, content_type: str = "") -> Kind:
    """Return as what `Totals` counts a request.

    Args:
        method: of HTTP.
        path: with its query.
        content_type: of the body.
    """
    parts = path.partition("?")[0].strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource, name, subresource = (*rest, "", "", "")[:3]
    verb = method.lower()
    if not name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    elif content_type == APPLY:
        verb = "apply"
    return Kind(verb, "/".join(filter(None, (resource, subresource))))


def _kind(record: dict[str, Any]) -> Kind:
    reference = record.get("objectRef", {})
    resource = "/".join(filter(None, (reference.get("resource", ""), reference.get("subresource"))))
    is_dry = "dryRun=" in record.get("requestURI", "")
    return Kind("dry-run" if is_dry else record["verb"], resource)
