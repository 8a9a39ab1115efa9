"""A chart as an artifact holds it: what it is called, what it defines, and a copy that Helm reads.

::

    ChartError    the artifact holds no chart that can be released
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kube import manifests
from reconcilers.helmchart import chart as charts
from reconcilers.helmchart import metadata as metadatas
from reconcilers.helmrelease import split, subcharts
from sources import semver
from sources.helm import archive, package
from sources.helm.errors import ChartError as UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kube.objects import JsonObject

DEFINITIONS: Final = "crds/"
DEFINITION_KIND: Final = "CustomResourceDefinition"
_MANIFESTS: Final = (".yaml", ".yml", ".json")
COPY: Final = "chart.tgz"
SUFFIX_LENGTH: Final = 12
"""Hex digits of an OCI artifact's digest in the version of its chart."""


class ChartError(Exception):
    """The artifact holds no chart that can be released; worded for users."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, read once."""

    file: Path
    """The archive as it lies in the artifact store."""
    digest: str
    """Digest of the archive, ``sha256:<hex>``."""
    name: str
    version: str
    """With ``+<12 hex>`` of the OCI artifact's digest, where there is one."""
    app_version: str
    oci_digest: str = ""
    """The digest of the OCI artifact, ``sha256:<hex>``; empty for other sources."""

    @property
    def full_name(self) -> str:
        """``<chart>@<version>``, as in messages."""
        return f"{self.name}@{self.version}"


@functools.lru_cache(maxsize=256)
def load(file: Path, digest: str, revision: str = "") -> Chart:
    """Read a chart's ``Chart.yaml``. Blocking; what was read is remembered by its digest.

    Args:
        file: the archive.
        digest: of the archive.
        revision: of an OCI artifact, ``<tag>@sha256:<hex>`` or ``sha256:<hex>``; empty for charts
            of a HelmChart.

    Raises:
        ChartError: it is no chart, a library chart, or its version is not the revision's.
        OSError: the archive cannot be read.
    """
    wanted = {metadatas.FILE, metadatas.REQUIREMENTS}
    try:
        found = metadatas.read(archive.read(file.read_bytes(), wanted.__contains__))
    except UnreadableError as err:
        raise ChartError(str(err)) from err
    if found.type == metadatas.LIBRARY:
        raise ChartError(
            f"chart {found.name} is a library chart: it can be a dependency of charts, but not be "
            "released by itself"
        )
    version = _pinned(found.version, revision) if revision else found.version
    oci_digest = revision.rpartition("@")[2]
    return Chart(file, digest, found.name, version, found.app_version, oci_digest)


def definitions(chart: Chart, values: JsonObject) -> list[JsonObject]:
    """Return the CustomResourceDefinitions of the chart and of its enabled subcharts. Blocking.

    Args:
        chart: the chart.
        values: the merged values, which enable and disable subcharts.

    Returns:
        What the folders ``crds/`` hold, the chart's own first, as Helm installs them. Objects of
        other kinds are left out, and so is what comes twice.

    Raises:
        ChartError: a file is no YAML of objects.
        OSError: the archive cannot be read.
    """
    whole = _read(chart)
    found: dict[str, JsonObject] = {}
    for each in subcharts.enabled(whole, values):
        for path, content in sorted(each.files.items()):
            if path.startswith(DEFINITIONS) and path.endswith(_MANIFESTS):
                for obj in _definitions_in(path, content):
                    found.setdefault(str(obj["metadata"]["name"]), obj)
    return list(found.values())


def place(chart: Chart, folder: Path) -> str:
    """Return the path of an archive that Helm takes for the chart. Blocking.

    It is the stored one, unless the version has a suffix that ``Chart.yaml`` does not have, or the
    chart names dependencies that it does not hold, which Helm's program refuses and Flux does not.

    Args:
        chart: the chart.
        folder: for a changed copy.

    Raises:
        ChartError: the archive is no chart.
        OSError: it cannot be read, or the copy not be written.
    """
    whole = _read(chart)
    held = {each.name for each in whole.dependencies}
    kept = tuple(each for each in whole.metadata.dependencies if each.name in held)
    if whole.metadata.version == chart.version and kept == whole.metadata.dependencies:
        return str(chart.file)
    whole.metadata.version, whole.metadata.dependencies = chart.version, kept
    whole.lock = whole.lock if kept else None
    copy = folder / COPY
    copy.write_bytes(package.pack(whole.entries()))
    return str(copy)


def _read(chart: Chart) -> charts.Chart:
    try:
        return charts.load_archive(chart.file.read_bytes())
    except UnreadableError as err:
        raise ChartError(str(err)) from err


def _pinned(version: str, revision: str) -> str:
    """Return a version with the digest of its artifact in it.

    Raises:
        ChartError: the artifact's tag is another version, or the revision has no digest.
    """
    tag, mark, digest = revision.rpartition("@")
    known, tagged = semver.parse(version), semver.parse(tag.replace("_", "+")) if mark else None
    if known is None:
        raise ChartError(f'chart version "{version}" is no semantic version')
    is_same = tagged is None or (tagged == known and tagged.metadata == known.metadata)
    if not is_same:
        raise ChartError(f"artifact revision {tag} does not match chart version {version}")
    return str(known.with_metadata(digest.partition(":")[2][:SUFFIX_LENGTH]))


def _definitions_in(path: str, content: bytes) -> Iterator[JsonObject]:
    try:
        for value in manifests.load_all(content, path):
            for obj in split.flat(value) if isinstance(value, dict) else ():
                if obj.get("kind") == DEFINITION_KIND and "name" in (obj.get("metadata") or {}):
                    yield obj
    except manifests.ManifestError as err:
        raise ChartError(f"cannot read the definitions of the chart: {err}") from err
