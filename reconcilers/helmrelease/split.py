"""What templates made, split into the objects of a release and its hooks, as Helm does it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from api import meta
from kube import manifests
from kube.helm.record import Hook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kube.objects import JsonObject

FILE_ANNOTATION: Final = "postrenderer.helm.sh/postrender-filename"
"""By which Helm tells a post-renderer where an object comes from."""

EVENTS: Final = frozenset(
    {
        *("pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade"),
        *("post-upgrade", "pre-rollback", "post-rollback", "test"),
    }
)
_OLD_EVENTS: Final = {"test-success": "test"}
_KINDS: Final = (
    *("PriorityClass", "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange"),
    *("PodSecurityPolicy", "PodDisruptionBudget", "ServiceAccount", "Secret", "SecretList"),
    *("ConfigMap", "StorageClass", "PersistentVolume", "PersistentVolumeClaim"),
    *("CustomResourceDefinition", "ClusterRole", "ClusterRoleList", "ClusterRoleBinding"),
    *("ClusterRoleBindingList", "Role", "RoleList", "RoleBinding", "RoleBindingList", "Service"),
    *("DaemonSet", "Pod", "ReplicationController", "ReplicaSet", "Deployment"),
    *("HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob", "IngressClass", "Ingress"),
    *("APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
)
"""The order in which Helm installs kinds; others come afterwards, by their name."""
_PLACES: Final = {kind: index for index, kind in enumerate(_KINDS)}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+", re.ASCII)


class Document(NamedTuple):
    """One object, and the template that it comes from."""

    path: str
    object: JsonObject


def documents(text: bytes) -> Iterator[Document]:
    """Read what Helm hands to a post-renderer.

    Raises:
        ManifestError: it is no YAML.
    """
    for value in manifests.load_all(text):
        if isinstance(value, dict):
            path = _annotations(value).get(FILE_ANNOTATION, "")
            _forget_file(value)
            yield from (Document(str(path), obj) for obj in flat(value))


def flat(obj: JsonObject) -> Iterator[JsonObject]:
    """Return the items of a list, or the object itself."""
    items = obj.get("items")
    if str(obj.get("kind", "")).endswith("List") and isinstance(items, list):
        for item in items:
            if isinstance(item, dict):
                yield from flat(item)
    else:
        yield obj


def is_hook(obj: JsonObject) -> bool:
    """Tell whether an object is made at a moment of its own."""
    return meta.HELM_HOOK in _annotations(obj)


def release(found: Iterable[Document]) -> tuple[str, tuple[Hook, ...]]:
    """Return the manifest and the hooks of a release, each in Helm's order.

    A hook for an event that does not exist is left out, as Helm does.
    """
    ordered = sorted(found, key=_place)
    manifest = "".join(
        f"---\n# Source: {path}\n{_text(obj)}\n" for path, obj in ordered if not is_hook(obj)
    )
    hooks = (_hook(*each) for each in ordered if is_hook(each.object))
    return manifest, tuple(hook for hook in hooks if hook)


def _place(document: Document) -> tuple[int, str]:
    kind = str(document.object.get("kind", ""))
    place = _PLACES.get(kind)
    return (len(_PLACES), kind) if place is None else (place, "")


def _hook(path: str, obj: JsonObject) -> Hook | None:
    notes = _annotations(obj)
    events = [_OLD_EVENTS.get(each, each) for each in _words(notes, meta.HELM_HOOK)]
    if not EVENTS.issuperset(events):
        return None
    weight = str(notes.get(meta.HELM_HOOK_WEIGHT, ""))
    metadata = obj.get("metadata") or {}
    return Hook(
        name=str(metadata.get("name", "")),
        kind=str(obj.get("kind", "")),
        path=path,
        manifest=_text(obj),
        events=tuple(events),
        weight=int(weight) if _INTEGER.fullmatch(weight) else 0,
        delete_policies=_words(notes, meta.HELM_HOOK_DELETE) or None,
        output_log_policies=_words(notes, meta.HELM_HOOK_LOGS) or None,
    )


def _words(notes: Mapping[str, object], name: str) -> tuple[str, ...]:
    if name not in notes:
        return ()
    return tuple(word.strip().lower() for word in str(notes[name]).split(","))


def _annotations(obj: JsonObject) -> Mapping[str, object]:
    metadata = obj.get("metadata")
    notes = metadata.get("annotations") if isinstance(metadata, dict) else None
    return notes if isinstance(notes, dict) else {}


def _forget_file(obj: JsonObject) -> None:
    metadata = obj.get("metadata")
    notes = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and isinstance(notes, dict):
        notes.pop(FILE_ANNOTATION, None)
        if not notes:
            del metadata["annotations"]


def _text(obj: JsonObject) -> str:
    return manifests.dump(obj).decode()
