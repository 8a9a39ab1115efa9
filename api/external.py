"""ExternalArtifact (``source.toolkit.fluxcd.io/v1``): an artifact that somebody else makes.

Nobody here reconciles it: whoever makes the artifact, such as Flux's source-watcher, writes the
status. The fields are Flux's.
"""

from __future__ import annotations

from typing import ClassVar

from api import meta, rules
from api.artifact import Artifact
from api.meta import Condition, Struct
from api.source import GROUP, SOURCE_CATEGORIES, VERSION


class ExternalSource(Struct, frozen=True, kw_only=True):
    """The object that the artifact is made of."""

    api_version: str = ""
    """API version of the object."""
    kind: str
    """Kind of the object."""
    name: str
    """Name of the object."""
    namespace: str = ""
    """Namespace of the object; that of the ExternalArtifact where empty."""


class ExternalArtifactSpec(Struct, frozen=True, kw_only=True):
    """Where the artifact comes from."""

    source_ref: ExternalSource | None = None
    """The object that the artifact is made of; for people and tools to follow."""


class ExternalArtifactStatus(Struct, frozen=True, kw_only=True):
    """What there is to fetch."""

    artifact: Artifact | None = None
    """What was made last."""
    conditions: tuple[Condition, ...] = ()
    """The state of the object, as its maker sees it."""


class ExternalArtifact(meta.CustomObject, frozen=True, kw_only=True):
    """An artifact that something else makes, and that Kustomizations may apply."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "ExternalArtifact"
    PLURAL: ClassVar[str] = "externalartifacts"
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="source-controller",
        columns=(
            rules.AGE,
            rules.READY,
            rules.STATUS,
            rules.Column("Source", ".spec.sourceRef.name"),
        ),
        short_names=("ea",),
        categories=SOURCE_CATEGORIES,
    )

    spec: ExternalArtifactSpec = ExternalArtifactSpec()
    status: ExternalArtifactStatus = ExternalArtifactStatus()
