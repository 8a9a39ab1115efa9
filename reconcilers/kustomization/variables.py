"""The variables of a Kustomization's ``postBuild``: where they come from and which one wins.

The rules are Flux's: ``substituteFrom`` in its order, later ones over earlier ones, ``substitute``
over all of them, and no value keeps a newline.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api import meta
from kube import errors, references
from kube.objects import ObjectId
from reconcilers import referenced
from runtime.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.kustomize import Kustomization, SubstituteReference
    from reconcilers.context import ClusterContext

_ALWAYS = "Always"


@dataclass(frozen=True, slots=True)
class Variables:
    """What is substituted in one build."""

    values: Mapping[str, str] = field(repr=False)
    identity: tuple[object, ...]
    """Changes whenever a value may have; holds none of the values that come from Secrets."""
    is_secret: bool = False
    """Whether a Secret is among the sources, so that no result may reach the disk."""
    is_strict: bool = True
    """Whether a variable without a value is an error."""


async def gather(context: ClusterContext, item: Kustomization) -> Variables | None:
    """Return the variables of a Kustomization; None where nothing is substituted.

    Raises:
        TransientError: an object that is referred to, and not optional, cannot be read.
    """
    spec = item.spec.post_build
    if spec is None:
        return None
    values: dict[str, str] = {}
    versions = []
    for reference in spec.substitute_from:
        found, version = await _read(context, item, reference)
        values |= found
        versions.append((reference.kind, reference.name, *version))
    values |= {key: _flat(value) for key, value in spec.substitute.items()}
    if not values and spec.substitute_strategy != _ALWAYS:
        return None
    is_strict = context.settings.strict_substitution
    return Variables(
        values,
        (spec.substitute, versions, is_strict),
        is_secret=any(each.kind == references.SECRET for each in spec.substitute_from),
        is_strict=is_strict,
    )


async def _read(
    context: ClusterContext, item: Kustomization, reference: SubstituteReference
) -> tuple[dict[str, str], references.Version]:
    """Return the values of one source and what they are known by."""
    target = ObjectId(item.metadata.namespace, reference.name, "", reference.kind)
    try:
        obj = await referenced.read(context, target, item.ref(context.name))
    except errors.ApiError as err:
        if reference.optional and isinstance(err, errors.NotFound):
            return {}, references.ABSENT
        text = f"substitute from '{reference.kind}/{reference.name}' error: {err.message}"
        raise TransientError(meta.BUILD_FAILED, text) from err
    data = referenced.data_of(obj)
    found = {key: _flat(value.decode(errors="replace")) for key, value in data.items()}
    return found, referenced.version_of(obj)


def _flat(value: str) -> str:
    return value.replace("\n", "")
