"""The record of one revision of a release, as Helm writes it into a Secret.

A record that somebody else wrote is kept field by field as the text it came in, so that writing it
again with another status changes nothing else in it, and so that its digest comes out as Flux's. A
record that a render makes is in Go's JSON from the beginning.

::

    RecordError    what a Secret holds is no record
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kube.helm import gojson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kube.objects import JsonObject

DEPLOYED: Final = "deployed"
SUPERSEDED: Final = "superseded"
FAILED: Final = "failed"
UNINSTALLED: Final = "uninstalled"
UNINSTALLING: Final = "uninstalling"
PENDING_INSTALL: Final = "pending-install"
PENDING_UPGRADE: Final = "pending-upgrade"
PENDING_ROLLBACK: Final = "pending-rollback"
PENDING: Final = frozenset({PENDING_INSTALL, PENDING_UPGRADE, PENDING_ROLLBACK})

SERVER_SIDE: Final = "ssa"
CLIENT_SIDE: Final = "csa"

SYSTEM_LABELS: Final = frozenset({"name", "owner", "status", "version", "createdAt", "modifiedAt"})
MAX_UNPACKED: Final = 256 * 1024 * 1024
"""Bytes of a record without compression; a Secret cannot hold more than 1 MiB of it compressed."""

_GZIP: Final = b"\x1f\x8b\x08"


class RecordError(Exception):
    """What a Secret holds is no record of a release; the message quotes nothing of it."""


def _forget_empty(record: msgspec.Struct, *names: str) -> None:
    for name in names:
        if getattr(record, name) == "":
            msgspec.structs.force_setattr(record, name, None)


class Execution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a hook."""

    started_at: str | None = None
    """RFC 3339 with nanoseconds."""
    completed_at: str | None = None
    phase: str = msgspec.field(default_factory=str)
    """``Unknown``, ``Running``, ``Succeeded`` or ``Failed``; empty where it never ran."""

    def __post_init__(self) -> None:
        """Take the empty texts of Helm 3 for the absent ones of Helm 4."""
        _forget_empty(self, "started_at", "completed_at")


class Hook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object that is made at a certain moment of a release, and not with the others."""

    name: str = ""
    kind: str = ""
    path: str = ""
    """The template that it comes from."""
    manifest: str = ""
    """YAML."""
    events: tuple[str, ...] | None = None
    """``pre-install``, ``post-upgrade``, ``test`` and so on."""
    last_run: Execution = msgspec.field(default_factory=Execution)
    weight: int = 0
    delete_policies: tuple[str, ...] | None = None
    """``before-hook-creation``, ``hook-succeeded``, ``hook-failed``; absent means the first."""
    output_log_policies: tuple[str, ...] | None = None
    """``hook-succeeded``, ``hook-failed``."""

    @property
    def is_test(self) -> bool:
        """Whether it is run by tests."""
        return "test" in (self.events or ())


class Info(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a revision came about and what became of it."""

    first_deployed: str | None = None
    """RFC 3339 with nanoseconds, like the others."""
    last_deployed: str | None = None
    deleted: str | None = None
    description: str = ""
    """The last thing that happened, for people."""
    status: str = ""
    """One of the constants of this module."""
    rollback_revision: int = 0
    """The revision that was rolled back to."""
    notes: str = ""
    resources: msgspec.Raw = msgspec.Raw()

    def __post_init__(self) -> None:
        """Take the empty texts of Helm 3 for the absent ones of Helm 4."""
        _forget_empty(self, "first_deployed", "last_deployed", "deleted")


class ChartMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a record says of its chart."""

    name: str = ""
    version: str = ""
    app_version: str = ""


class _Chart(msgspec.Struct, frozen=True):
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_INFO: Final = msgspec.json.Decoder(Info)
_HOOKS: Final = msgspec.json.Decoder(tuple[Hook, ...] | None)
_CHART: Final = msgspec.json.Decoder(_Chart)
_METADATA: Final = msgspec.json.Decoder(ChartMetadata)
_TEXT: Final = msgspec.json.Decoder(str)
_NUMBER: Final = msgspec.json.Decoder(int)
_ORDER: Final = (
    *("name", "info", "chart", "config", "manifest", "hooks", "version", "namespace"),
    "apply_method",
)
"""The fields of a record in the order in which Helm writes them."""


@dataclass(frozen=True, slots=True)
class Record:
    """One revision of a release. Values are decoded when they are asked for.

    Args:
        fields: the JSON of each field; a field that Helm does not know yet is kept.
        labels: of the Secret, without those that Helm sets itself.
    """

    fields: Mapping[str, msgspec.Raw]
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the release."""
        return _TEXT.decode(self.fields["name"])

    @property
    def namespace(self) -> str:
        """The namespace that it is released to."""
        return _TEXT.decode(self.fields.get("namespace", b'""'))

    @property
    def version(self) -> int:
        """The number of the revision, from 1."""
        return _NUMBER.decode(self.fields.get("version", b"0"))

    @property
    def info(self) -> Info:
        """How it came about."""
        return _INFO.decode(self.fields.get("info", b"{}"))

    @property
    def status(self) -> str:
        """The status; one of the constants of this module, or what a newer Helm knows."""
        return self.info.status

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """All hooks, tests included, in the order in which they were rendered."""
        return _HOOKS.decode(self.fields.get("hooks", b"null")) or ()

    @property
    def manifest(self) -> str:
        """The objects of the release, without hooks, as YAML."""
        return _TEXT.decode(self.fields.get("manifest", b'""'))

    @property
    def chart(self) -> ChartMetadata:
        """Name and versions of the chart."""
        return _METADATA.decode(self.chart_metadata)

    @property
    def chart_metadata(self) -> msgspec.Raw:
        """Everything in the chart's ``Chart.yaml``, as JSON."""
        return _CHART.decode(self.fields.get("chart", b"{}")).metadata

    @property
    def config(self) -> JsonObject:
        """The values that the release was given."""
        values: JsonObject | None = msgspec.json.decode(self.fields.get("config", b"{}"))
        return values or {}

    @property
    def apply_method(self) -> str:
        """``ssa``, ``csa``, or empty for releases of Helm 3, which means the latter."""
        return _TEXT.decode(self.fields.get("apply_method", b'""'))

    @property
    def is_client_side(self) -> bool:
        """Whether its objects were merged by the client, and not applied by the server."""
        return self.apply_method != SERVER_SIDE

    @property
    def full_name(self) -> str:
        """``<namespace>/<name>.v<version>``, as in messages."""
        return f"{self.namespace}/{self.name}.v{self.version}"

    @property
    def chart_name(self) -> str:
        """``<chart>@<version>``, as in messages."""
        return f"{self.chart.name}@{self.chart.version}"

    def changed(self, *, labels: Mapping[str, str] | None = None, **values: Any) -> Record:  # noqa: ANN401 - any field
        """Return the record with some of its fields replaced, in Helm's order.

        Args:
            labels: replaces the custom labels of the Secret.
            **values: by the name of the field in JSON: ``info=Info(...)``, ``hooks=(...)``,
                ``manifest="..."``, ``version=2``. What is empty is left out, as Helm does.
        """
        fields = dict(self.fields)
        for name, value in values.items():
            fields.pop(name, None)
            if value:
                fields[name] = msgspec.Raw(gojson.encode(value))
        known = {name: fields[name] for name in _ORDER if name in fields}
        return Record(known | fields, self.labels if labels is None else labels)

    def with_info(self, **values: Any) -> Record:  # noqa: ANN401 - any field
        """Return the record with some fields of its `info` replaced: status, description, ..."""
        return self.changed(info=msgspec.structs.replace(self.info, **values))


def parse(text: bytes, labels: Mapping[str, str] | None = None) -> Record:
    """Read the JSON of a release, for example what ``helm install -o json`` prints.

    Args:
        text: the JSON.
        labels: those of the Secret.

    Raises:
        RecordError: it is no release.
    """
    try:
        record = Record(_FIELDS.decode(text), _custom(labels or {}))
        if not record.name or record.version < 1:
            raise RecordError("the record names no release")
        _ = record.info, record.hooks, record.chart, record.manifest, record.namespace
    except (msgspec.DecodeError, KeyError) as err:
        raise RecordError("the record of the release cannot be read") from err
    return record


def decode(payload: bytes, labels: Mapping[str, str] | None = None) -> Record:
    """Read what a Secret's key ``release`` holds, base64 of Kubernetes already undone. Blocking.

    Raises:
        RecordError: it is no record.
    """
    try:
        packed = base64.b64decode(payload, validate=True)
        text = _unpack(packed) if packed.startswith(_GZIP) else packed
    except (binascii.Error, zlib.error, OSError, EOFError) as err:
        raise RecordError("the record of the release cannot be unpacked") from err
    return parse(text, labels)


def encode(record: Record) -> bytes:
    """Return what a Secret's key ``release`` holds, before base64 of Kubernetes. Blocking."""
    return base64.b64encode(gzip.compress(dump(record), compresslevel=9, mtime=0))


def dump(record: Record) -> bytes:
    """Return the JSON of a record."""
    return msgspec.json.encode(record.fields)


def secret_name(release: str, version: int) -> str:
    """Return the name of the Secret of a revision."""
    return f"sh.helm.release.v1.{release}.v{version}"


def _unpack(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    text = unpacker.decompress(packed, MAX_UNPACKED)
    if not unpacker.eof:
        raise RecordError("the record of the release is cut short or too large")
    return text


def _custom(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key not in SYSTEM_LABELS}
