"""Renders a release: Helm's templates, then post-renderers, metadata and labels.

Helm renders with ``--dry-run=server``, so that capabilities and ``lookup`` are the cluster's, and
prints the whole record. The record that comes back has the status and the description of a release
that is under way; who releases it writes it, applies its objects, and writes what became of it.

What the templates made is caught by a post-renderer of Helm's own kind, a line of shell, and is
changed here. Helm goes on with a hook that does nothing: so it asks the cluster for none of the
objects, which would be one request each, nor for their kinds, which the changes may take out. Where
the release may not take over objects of others, Helm gets to see them all, and refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kube import manifests
from kube.helm import record as records
from kube.helm.record import RecordError
from reconcilers.helmrelease import chart as charts
from reconcilers.helmrelease import split
from reconcilers.helmrelease import values as merging
from reconcilers.helmrelease.postrender import PostRenderer
from reconcilers.helmrelease.program import Helm
from reconcilers.kustomization.kustomize import Kustomize
from reconcilers.kustomization.manifest import BuildError

if TYPE_CHECKING:
    from pathlib import Path

    from api.helm import HelmRelease
    from kube.helm.record import Record
    from reconcilers.context import ClusterContext
    from reconcilers.helmrelease.chart import Chart
    from reconcilers.helmrelease.program import Place, Session
    from reconcilers.helmrelease.split import Document
    from reconcilers.helmrelease.values import Values
    from runtime.limits import Threads

PLUGIN: Final = "catch"
OUTPUT: Final = "documents"
"""Where the plug-in puts what the templates made."""
_STUB: Final = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: stub
  annotations:
    helm.sh/hook: test
"""
_REPLACE: Final = f"cat > {OUTPUT} && cat stub"
_PASS_ON: Final = f"tee {OUTPUT} && echo && echo --- && cat stub"
_PLUGIN_FILE: Final = """\
apiVersion: v1
name: {name}
version: 1.0.0
type: postrenderer/v1
runtime: subprocess
runtimeConfig:
  platformCommand:
  - command: /bin/sh
    args: ["-c", "{script}"]
"""


class RenderError(Exception):
    """What the templates made cannot be released; worded for users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to render."""

    item: HelmRelease
    chart: Chart
    values: Values
    """Merged."""
    name: str
    """The release's."""
    place: Place
    is_upgrade: bool
    """Whether ``.Release.IsUpgrade`` holds; helm then reads the records and counts on."""
    timeout_s: float = 300.0

    @property
    def takes_over(self) -> bool:
        """Whether objects that belong to nobody, or to another release, become this one's."""
        spec = self.item.spec
        options = spec.upgrade if self.is_upgrade else spec.install
        return not (options and options.disable_take_ownership)

    @property
    def preserves_values(self) -> bool:
        """Whether the values go over those of the release before."""
        upgrade = self.item.spec.upgrade
        return bool(self.is_upgrade and upgrade and upgrade.preserve_values)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A release that is ready to be applied."""

    record: Record
    """Status ``pending-install`` or ``pending-upgrade``; version 1 or the last one plus 1. An
    install over records that exist takes its version from who writes it."""


class Renderer:
    """Renders releases, one helm process each.

    Args:
        helm: the program.
        kustomize: for post-renderers.
        threads: reads and writes.
    """

    def __init__(self, helm: Helm, kustomize: Kustomize, threads: Threads) -> None:
        self.helm, self._threads = helm, threads
        self._post = PostRenderer(kustomize, threads)

    async def render(self, request: Request) -> Rendered:
        """Render a release.

        Raises:
            HelmError: helm refused: a template, the schema, a conflict with another release.
            RenderError: a post-renderer failed, the templates made something that is no object, or
                there is no folder or no port to be had.
            ChartError: the chart cannot be read.
            ProcessTimeout: helm took too long.
        """
        try:
            return await self._render(request)
        except OSError as err:
            raise RenderError(f"there is no place to render in: {err.strerror or err}") from err

    async def _render(self, request: Request) -> Rendered:
        async with self.helm.session(request.place) as session:
            file = await self._threads.run(_prepare, request, session.folder)
            output = await session.run(
                arguments(request, file), values=request.values.text, timeout_s=request.timeout_s
            )
            found = await self._threads.run(_documents, session.folder)
            changed = await self._change(found, request.item, session)
        return Rendered(await self._threads.run(_record, output, changed, request))

    async def _change(
        self, found: list[Document], item: HelmRelease, session: Session
    ) -> list[Document]:
        try:
            return await self._post.run(found, item, session.folder)
        except (BuildError, manifests.ManifestError) as err:
            raise RenderError(f"error while running post render on files: {err}") from err


def renderer(context: ClusterContext) -> Renderer:
    """Return what renders the releases of one cluster."""
    tools, threads, processes = context.tools, context.threads, context.processes
    owner = context.data_dir / "helm"
    return Renderer(
        Helm(tools.helm, tools.helm_complaint, owner, processes, threads),
        Kustomize(tools.kustomize, processes, context.settings.build_timeout_s),
        threads,
    )


def arguments(request: Request, file: str) -> list[str]:
    """Return helm's arguments for a render.

    Args:
        request: what to render.
        file: the chart's archive.
    """
    spec = request.item.spec
    options = spec.upgrade if request.is_upgrade else spec.install
    found = ["upgrade" if request.is_upgrade else "install", request.name, file]
    found += ["--dry-run=server", "--output=json", "--values=-", "--skip-crds"]
    # The API server checks every object in a dry run of its own before anything is written.
    found += ["--disable-openapi-validation", f"--post-renderer={PLUGIN}"]
    if request.is_upgrade:
        found.append("--reuse-values" if request.preserves_values else "--reset-values")
    if request.takes_over:
        found.append("--take-ownership")
    if options and options.disable_schema_validation:
        found.append("--skip-schema-validation")
    return found


def _prepare(request: Request, folder: Path) -> str:
    """Lay out the plug-in and return the path of the chart."""
    plugin = folder / "plugins" / PLUGIN
    plugin.mkdir(parents=True)
    script = _REPLACE if request.takes_over else _PASS_ON
    (plugin / "plugin.yaml").write_text(_PLUGIN_FILE.format(name=PLUGIN, script=script))
    (folder / "stub").write_text(_STUB)
    return charts.place(request.chart, folder)


def _documents(folder: Path) -> list[Document]:
    try:
        return list(split.documents((folder / OUTPUT).read_bytes()))
    except FileNotFoundError:
        return []  # the templates made nothing, and nothing was to be post-rendered
    except manifests.ManifestError as err:
        raise RenderError(f"what the templates made is no YAML of objects: {err}") from err


def _record(output: bytes, found: list[Document], request: Request) -> Record:
    """Return the record with what the templates made in place of the stub."""
    try:
        made = records.parse(output)
    except RecordError as err:
        raise RenderError(f"helm printed no release: {err}") from err
    manifest, hooks = split.release(found)
    changed = made.changed(manifest=manifest, hooks=hooks)
    if not (request.values.is_exact or request.preserves_values):
        changed = changed.changed(config=merging.plain(request.values.merged))
    is_upgrade = request.is_upgrade
    return changed.with_info(
        status=records.PENDING_UPGRADE if is_upgrade else records.PENDING_INSTALL,
        description="Preparing upgrade" if is_upgrade else "Initial install underway",
    )
