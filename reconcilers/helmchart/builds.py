"""What is made of a chart: its name and version, and its archive where that is a new one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from api import meta
from reconcilers.helmchart import failures
from sources import semver

if TYPE_CHECKING:
    from api.charts import HelmChart
    from reconcilers.source.attempt import Attempt

NEW_CHART: Final = "NewChart"
PULLED: Final = "ChartPullSucceeded"
PACKAGED: Final = "ChartPackageSucceeded"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which chart it is going to be."""

    name: str
    version: str
    is_packaged: bool
    """Whether it is packed here; else it stays the file that it was."""

    def announce(self, attempt: Attempt[HelmChart]) -> None:
        """Note that the content is going to change, before it is made."""
        status, text = attempt.obj.status, f"new '{self.name}' chart with version '{self.version}'"
        known = attempt.artifact.revision if attempt.artifact else ""
        if (status.observed_chart_name, known) == (self.name, self.version):
            return
        attempt.is_rebuilding = True
        if attempt.artifact is not None:
            attempt.set(meta.ARTIFACT_OUTDATED, "True", NEW_CHART, text)
        attempt.show(f"building artifact: {text}")

    def is_kept(self, attempt: Attempt[HelmChart]) -> bool:
        """Say whether the artifact of an object is this chart already."""
        obj, artifact = attempt.obj, attempt.artifact
        return (
            artifact is not None
            and obj.metadata.generation == obj.status.observed_generation
            and (obj.status.observed_chart_name, artifact.revision) == (self.name, self.version)
        )


@dataclass(frozen=True, slots=True)
class Build:
    """A chart that was made, or that there was already."""

    plan: Plan
    values_files: tuple[str, ...] = ()
    """The files that its values are of."""
    content: bytes | None = field(default=None, repr=False)
    """Its archive; None where the artifact is it."""
    resolved: int = 0
    """How many of its dependencies were brought."""

    @property
    def reason(self) -> str:
        """The reason of the conditions and events about it."""
        return PACKAGED if self.plan.is_packaged else PULLED

    @property
    def summary(self) -> str:
        """What the conditions and events say."""
        done = "packaged" if self.plan.is_packaged else "pulled"
        text = f"{done} '{self.plan.name}' chart with version '{self.plan.version}'"
        if self.values_files:
            text += f" and merged values files [{' '.join(self.values_files)}]"
        return text


def kept(plan: Plan, obj: HelmChart) -> Build:
    """Return the chart that is the artifact of an object already."""
    return Build(plan, obj.status.observed_values_files or obj.merged_values_files)


def version_with(version: str, *metadata: str) -> str:
    """Return a chart's version with build metadata, if there is any to add.

    Raises:
        BuildError: the version is none, or the metadata cannot be part of one.
    """
    added = ".".join(filter(None, metadata))
    if not added:
        return version
    parsed = semver.parse(version)
    if parsed is None:
        text = "failed to parse version from chart metadata as SemVer: Invalid Semantic Version"
        raise failures.BuildError(failures.METADATA, text)
    try:
        return str(parsed.with_metadata(added))
    except semver.InvalidMetadataError as err:
        text = f"failed to set SemVer metadata on chart version: {err}"
        raise failures.BuildError(failures.METADATA, text) from err
