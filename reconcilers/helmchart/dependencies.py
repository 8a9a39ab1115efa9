"""The charts that a chart asks for and that are not below its ``charts/``: brought and put there.

``Chart.lock`` says which versions, else ``Chart.yaml``. Local ones come from the same source, the
others from the repositories that are named; a HelmRepository of the same URL in the namespace
lends its credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from api.charts import HelmRepository
from reconcilers.helmchart import chart as charts
from reconcilers.helmchart import failures, origins, values
from reconcilers.helmchart.failures import BuildError
from reconcilers.helmrepository import remote
from runtime.errors import GitOpsError
from sources import semver
from sources.auth.errors import CredentialsError
from sources.helm import index, urls
from sources.helm.errors import ChartError
from sources.oci.errors import RegistryError

if TYPE_CHECKING:
    from api.charts import HelmChart
    from reconcilers.context import ClusterContext
    from reconcilers.helmchart.chart import Chart
    from reconcilers.helmchart.metadata import Dependency
    from sources.tree import Tree

_SCHEMES: Final = frozenset({"http", "https", urls.OCI})


async def complete(
    context: ClusterContext, obj: HelmChart, parent: Chart, tree: Tree, path: str
) -> int:
    """Add what a chart lacks of its dependencies.

    Args:
        context: the cluster.
        obj: in whose namespace HelmRepositories are looked for.
        parent: the chart; it is changed.
        tree: the source that it is from.
        path: its directory in there.

    Returns:
        How many were added.

    Raises:
        BuildError: one cannot be had.
        OSError: the source cannot be read.
    """
    lacking = missing(parent)
    for each in lacking:
        try:
            if each.is_local:
                found = await context.threads.run(_local, tree, path, each)
            else:
                found = await _remote(context, obj.metadata.namespace, each)
        except (ChartError, RegistryError, index.NoSuchChartError, GitOpsError) as err:
            where = "local" if each.is_local else "remote"
            text = f"failed to add {where} dependency '{each.key}': {err}"
            raise BuildError(failures.DEPENDENCIES, text) from err
        if not _holds(parent, found):
            parent.dependencies.append(found)
    return len(lacking)


def missing(parent: Chart) -> tuple[Dependency, ...]:
    """Return the dependencies that a chart asks for and does not hold."""
    if len(parent.required) == len(parent.dependencies):
        return ()
    held = {each.name for each in parent.dependencies}
    return tuple(each for each in parent.required if each.key not in held)


def _holds(parent: Chart, wanted: Chart) -> bool:
    """Say whether a chart is there already, for another alias: Helm makes the copies itself."""
    return any(
        (each.name, each.metadata.version) == (wanted.name, wanted.metadata.version)
        for each in parent.dependencies
    )


def _local(tree: Tree, path: str, wanted: Dependency) -> Chart:
    """Return a dependency that lies in the same source. Blocks.

    Raises:
        ChartError: it does not, or has another version.
        OSError: the source cannot be read.
    """
    if wanted.repository:
        parts = urlsplit(wanted.repository)
        target = values.normalise(f"{path}/{parts.netloc}/{parts.path}")
    else:
        target = values.normalise(f"{path}/charts/{wanted.name}")
    prefix = f"{target}/"
    if any(entry.path == target for entry in tree.entries()):
        found = charts.load_archive(tree.read(target))
    elif any(entry.path.startswith(prefix) for entry in tree.entries()):
        found = charts.load_directory(tree, target)
    else:
        raise ChartError(f"no chart found at '/{target}' (reference '{wanted.repository}')")
    try:
        admitted = semver.Range(wanted.version)
    except semver.InvalidRangeError as err:
        text = f"invalid version/constraint format '{wanted.version}': {err}"
        raise ChartError(text) from err
    version = semver.parse(found.metadata.version)
    if version is None or not admitted.admits(version):
        raise ChartError(f"can't get a valid version for constraint '{wanted.version}'")
    return found


async def _remote(context: ClusterContext, namespace: str, wanted: Dependency) -> Chart:
    """Return a dependency from the repository that it names.

    Raises:
        ChartError: that is none, or what is there is no chart.
        RegistryError: it cannot be asked.
        NoSuchChartError: it has no such chart.
        GitOpsError: the HelmRepository that lends credentials cannot be used.
    """
    source = repository_of(context, namespace, wanted.repository)
    where = urls.shown(wanted.repository)
    getting = f"failed to get chart '{wanted.name}' version '{wanted.version}' from '{where}'"
    try:
        found = await origins.find(context, source, wanted.name, wanted.version)
        content = await found.pull()
    except (RegistryError, index.NoSuchChartError, CredentialsError) as err:
        raise ChartError(f"{getting}: {err}") from err
    try:
        return await context.threads.run(charts.load_archive, content)
    except ChartError as err:
        text = f"failed to load downloaded archive of version '{found.version}': {err}"
        raise ChartError(text) from err


def repository_of(context: ClusterContext, namespace: str, url: str) -> HelmRepository:
    """Return the HelmRepository of a URL, or one without credentials where there is none.

    Raises:
        ChartError: the URL is none of a repository.
    """
    if url.startswith("@"):
        raise ChartError(f"aliased repository dependency is not supported: {urls.shown(url)}")
    if urls.scheme(url) not in _SCHEMES:
        raise ChartError(f"invalid dependency repository URL: {urls.shown(url)}")
    try:
        wanted = urls.normalise(url)
    except ValueError as err:
        raise ChartError(f"invalid dependency repository URL: {err}") from err
    for each in context.informer(HelmRepository).items():
        if each.metadata.namespace == namespace and _normal(each.spec.url) == wanted:
            return each
    return remote.anonymous(wanted, namespace)


def _normal(url: str) -> str:
    try:
        return urls.normalise(url)
    except ValueError:
        return ""
