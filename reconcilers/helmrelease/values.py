"""The values of a release: merged as Flux merges them, from references and from the spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.helm import HelmRelease
    from kube.objects import JsonObject
    from reconcilers.context import ClusterContext


@dataclass(frozen=True, slots=True)
class Values:
    """Merged values."""

    merged: JsonObject
    digest: str
    """``configDigest``, see `kube.helm.digest.of_values`."""


async def compose(context: ClusterContext, item: HelmRelease) -> Values:
    """Read what ``valuesFrom`` names, in the object's own cluster, and merge it.

    Every read is noted with `kube.references`, which wakes the HelmRelease when one changes.

    Raises:
        TransientError: reason ``ValuesError``; a reference cannot be read or merged, as Flux words
            it.
    """
    raise NotImplementedError
