"""Where charts are pulled from: a repository's index, or a chart's tags in a registry.

::

    NoSuchChartError (sources.helm.index)    the repository has no such chart or version
    RegistryError (sources.oci.errors)       it cannot be asked, or sent something else
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from reconcilers.helmrepository import remote
from sources import semver
from sources.helm import index
from sources.helm.convert import InvalidIndexError
from sources.helm.repositories import CHART_BYTES
from sources.oci.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from api.charts import HelmRepository
    from reconcilers.context import ClusterContext
    from sources.helm.server import Repository
    from sources.oci.client import Repository as Registry

CHART_LAYER: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class Found:
    """One version of a chart."""

    name: str
    version: str
    pull: Callable[[], Awaitable[bytes]]
    """Fetches its archive, verified as far as the repository tells its digest; raises
    RegistryError."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """One version of a chart in a registry."""

    registry: Registry
    version: str

    @property
    def tag(self) -> str:
        """The tag of that version: a ``+`` cannot be in one."""
        return self.version.replace("+", "_")


async def find(context: ClusterContext, source: HelmRepository, name: str, wanted: str) -> Found:
    """Return the version of a chart that is meant.

    Args:
        context: the cluster.
        source: the repository; one that is no object of the cluster has no artifact.
        name: of the chart.
        wanted: a version or a range.

    Raises:
        NoSuchChartError: there is none.
        RegistryError: the repository cannot be asked.
        GitOpsError: its spec or its Secrets cannot be used.
        CredentialsError: its certificates cannot be used.
        OSError: the index is lost.
    """
    if source.is_static:
        tagged = await find_tag(context, source, name, wanted)
        return Found(name, tagged.version, partial(pull, context, tagged, tagged.tag))
    repository = await remote.repository(context, source)
    path = await _index(context, source, repository)
    entry = await context.threads.run(index.find, path, name, wanted)
    fetch = partial(context.charts.chart, repository, entry)
    return Found(entry.name, entry.version, fetch)


async def find_tag(
    context: ClusterContext, source: HelmRepository, name: str, wanted: str
) -> Tagged:
    """Return the tag of a chart in a registry that is meant; a whole version is taken at its word.

    Raises:
        RegistryError: the registry cannot be asked, or has no such tag.
        GitOpsError: see `find`.
        CredentialsError: see `find`.
    """
    registry = await remote.registry(context, source, name)
    if semver.parse_strict(wanted) is not None:
        return Tagged(registry, wanted)
    try:
        tags = [tag.replace("_", "+") for tag in await context.oci.tags(registry)]
        return Tagged(registry, await context.threads.run(index.choose_tag, tags, wanted))
    except index.NoSuchChartError as err:
        raise ContentError(str(err)) from err


async def pull(context: ClusterContext, tagged: Tagged, reference: str) -> bytes:
    """Return the archive that a tag, or a digest, of a registry holds.

    Raises:
        RegistryError: it cannot be had.
    """
    registry = tagged.registry
    if ":" not in reference:
        reference = (await context.oci.resolve(registry, reference)).digest
    manifest = await context.oci.manifest(registry, reference)
    return await context.oci.read(registry, manifest.layer(CHART_LAYER), CHART_BYTES)


async def _index(context: ClusterContext, source: HelmRepository, repository: Repository) -> Path:
    """Return the index: the artifact of the object, else the server's."""
    if source.status.artifact is not None:
        return await context.threads.run(context.storage.file, source.status.artifact)
    try:
        return (await context.charts.index(repository)).path
    except InvalidIndexError as err:
        raise ContentError(f"failed to load index: {err}") from err
