"""Renders a release: Helm's templates, then post-renderers, metadata and labels.

Helm renders with ``--dry-run=server``, so that capabilities and ``lookup`` are the cluster's, and
prints the whole record. The record that comes back has the status and the description of a release
that is under way; who releases it writes it, applies its objects, and writes what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.helm import HelmRelease
    from kube.helm.record import Record
    from kube.objects import JsonObject
    from reconcilers.helmrelease.chart import Chart
    from reconcilers.helmrelease.program import Helm, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to render."""

    item: HelmRelease
    chart: Chart
    values: JsonObject
    """Merged."""
    name: str
    """The release's."""
    place: Place
    is_upgrade: bool
    """Whether ``.Release.IsUpgrade`` holds; helm then reads the records and counts on."""
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Rendered:
    """A release that is ready to be applied."""

    record: Record
    """Status ``pending-install`` or ``pending-upgrade``; version 1 or the last one plus 1. An
    install over records that exist takes its version from who writes it."""


class Renderer:
    """Renders releases, one helm process each."""

    def __init__(self, helm: Helm) -> None:
        self._helm = helm

    async def render(self, request: Request) -> Rendered:
        """Render a release.

        Raises:
            HelmError: helm refused: a template, the schema, a conflict with another release.
            RenderError: a post-renderer failed, or the templates made something that is no object.
            ProcessTimeout: helm took too long.
        """
        raise NotImplementedError


class RenderError(Exception):
    """What the templates made cannot be released; worded for users."""
