"""What becomes of the templates' output: kustomize, common metadata, the labels of the origin.

The order is Flux's, and what a HelmRelease says of hooks is too: they go with the rest, in a run of
their own, or are left as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from api import meta
from kube import normalise
from reconcilers.helmrelease import split
from reconcilers.kustomization import generate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from api.helm import HelmRelease, KustomizeRenderer
    from reconcilers.helmrelease.split import Document
    from reconcilers.kustomization.kustomize import Kustomize
    from runtime.limits import Threads

INPUT: Final = "helm-output.yaml"
"""The file that kustomize reads, as its complaints name it."""
COMBINED: Final = "combined"
SEPARATE: Final = "separate"


class PostRenderer:
    """Runs the post-renderers of releases.

    Args:
        kustomize: the program.
        threads: writes and parses.
    """

    def __init__(self, kustomize: Kustomize, threads: Threads) -> None:
        self._kustomize, self._threads = kustomize, threads

    async def run(
        self, found: Sequence[Document], item: HelmRelease, folder: Path
    ) -> list[Document]:
        """Return what the templates made, changed as a HelmRelease asks.

        Args:
            found: objects and hooks; changed in place.
            item: the HelmRelease.
            folder: private; files are written there, and stay.

        Raises:
            BuildError: kustomize failed.
            ManifestError: it wrote no YAML.
        """
        changed: list[Document] = []
        groups, left = _groups(found, item.spec.post_render_strategy or COMBINED)
        for number, group in enumerate(groups):
            rendered = group
            for step, each in enumerate(item.spec.post_renderers):
                if each.kustomize and rendered:
                    place = folder / f"post-{number}-{step}"
                    rendered = await self._build(rendered, each.kustomize, place)
            for document in rendered:
                _mark(document, item)
            changed += rendered
        return changed + left

    async def _build(
        self, found: Sequence[Document], renderer: KustomizeRenderer, folder: Path
    ) -> list[Document]:
        await self._threads.run(_write, found, renderer, folder)
        output = await self._kustomize.build(folder, confined=False)
        return await self._threads.run(lambda: list(split.documents(output)))


def _groups(
    found: Sequence[Document], strategy: str
) -> tuple[list[list[Document]], list[Document]]:
    """Return what is rendered together, and what is left as it is."""
    if strategy == COMBINED:
        return [list(found)], []
    hooks = [each for each in found if split.is_hook(each.object)]
    others = [each for each in found if not split.is_hook(each.object)]
    return ([hooks, others], []) if strategy == SEPARATE else ([others], hooks)


def _write(found: Iterable[Document], renderer: KustomizeRenderer, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    document = generate.transformed(generate.generated([INPUT]), renderer.patches, renderer.images)
    (folder / "kustomization.yaml").write_bytes(msgspec.json.encode(document))
    with (folder / INPUT).open("wb") as file:
        for path, obj in found:
            normalise.add_metadata(obj, "annotations", {split.FILE_ANNOTATION: path})
            file.write(b"---\n" + orjson.dumps(obj) + b"\n")


def _mark(document: Document, item: HelmRelease) -> None:
    """Set labels and annotations on the object itself, not on what it is a template of."""
    common, own = item.spec.common_metadata, item.metadata
    labels = {meta.HELM_OWNER_NAME: own.name, meta.HELM_OWNER_NAMESPACE: own.namespace}
    if common is not None:
        labels = {**common.labels, **labels}
        normalise.add_metadata(document.object, "annotations", common.annotations)
    normalise.add_metadata(document.object, "labels", labels)
