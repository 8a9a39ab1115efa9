"""The objects of a record, as they are applied and as drift is judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kube.helm.record import Hook, Record
    from kube.objects import JsonObject


def of_record(record: Record) -> list[JsonObject]:
    """Return the objects of the manifest, with the label and annotations that Helm sets. Blocking.

    The namespace is left as the template has it: which kinds have one, discovery knows.

    Raises:
        ManifestError: the manifest is no YAML of objects.
    """
    raise NotImplementedError


def of_hook(hook: Hook) -> JsonObject:
    """Return the object of a hook.

    Raises:
        ManifestError: it is no YAML of an object.
    """
    raise NotImplementedError


def is_kept(obj: JsonObject) -> bool:
    """Tell whether an object outlives its release: ``helm.sh/resource-policy: keep``."""
    raise NotImplementedError
