"""A chart as an artifact holds it: what it is called, what it defines, and a copy that Helm reads.

::

    ChartError    the artifact holds no chart that can be released
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kube.objects import JsonObject


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


def load(file: Path, digest: str, revision: str = "") -> Chart:
    """Read a chart's ``Chart.yaml``. Blocking.

    Args:
        file: the archive.
        digest: of the archive.
        revision: of an OCI artifact, ``<tag>@sha256:<hex>`` or ``sha256:<hex>``; empty for charts
            of a HelmChart.

    Raises:
        ChartError: it is no chart, a library chart, or its version is not the revision's.
    """
    raise NotImplementedError


def definitions(chart: Chart, values: JsonObject) -> list[JsonObject]:
    """Return the CustomResourceDefinitions of the chart and of its enabled subcharts. Blocking.

    Args:
        chart: the chart.
        values: the merged values, which enable and disable subcharts.

    Returns:
        What the folders ``crds/`` hold, in the order in which Helm installs it, dependencies
        first. Objects of other kinds are left out.

    Raises:
        ChartError: a file is no YAML of objects.
    """
    raise NotImplementedError
