"""The kustomization file that is built: the repository's own or a generated one, plus overrides.

Pure functions on the decoded file. The rules are Flux's: which file counts, that unknown fields of
the root file vanish instead of failing, what an empty one becomes, and in which order the spec
overrides.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, Final

import msgspec

from reconcilers.kustomization.manifest import BuildError
from sources import tree as source_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.kustomize import Image, KustomizationSpec, Patch
    from sources.tree import Entry

FILE_NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""What kustomize takes for a kustomization file, in its order of preference."""
_MANIFESTS: Final = (".yaml", ".yml")
_FIELDS: Final = {
    name.lower(): name
    for name in (
        *("apiVersion", "kind", "metadata", "openapi", "namePrefix", "nameSuffix", "namespace"),
        *("commonLabels", "labels", "commonAnnotations", "patchesStrategicMerge", "patches"),
        *("patchesJson6902", "images", "imageTags", "replacements", "replicas", "vars"),
        *("sortOptions", "resources", "components", "crds", "bases", "configMapGenerator"),
        *("secretGenerator", "helmGlobals", "helmCharts", "helmChartInflationGenerator"),
        *("generatorOptions", "configurations", "generators", "transformers", "validators"),
        "buildMetadata",
    )
}
"""kustomize's own fields by their name in lower case, since it reads names in any case."""
_RESOURCE_FIELDS: Final = (
    "resources",
    "bases",
    "components",
    "configMapGenerator",
    "secretGenerator",
    "generators",
    "helmCharts",
    "helmChartInflationGenerator",
)


def normal_path(path: str) -> str:
    """Return ``spec.path`` relative to the artifact's root, without ``./``; the root is ``""``.

    Raises:
        ValueError: the path leaves the artifact.
    """
    clean = posixpath.normpath(path.replace("\\", "/").lstrip("/") or ".")
    if clean == ".." or clean.startswith("../"):
        raise ValueError(f"kustomization path {path!r} leaves the source")
    return "" if clean == "." else clean


def file_in(directory: str, paths: frozenset[str]) -> str | None:
    """Return the path of the kustomization file of a directory, if it has one."""
    for name in FILE_NAMES:
        path = posixpath.join(directory, name)
        if path in paths:
            return path
    return None


def resources(entries: Sequence[Entry], root: str) -> list[str]:
    """Return what a generated kustomization file lists, relative to ``root``, in walk order.

    A sub-directory with a kustomization file is listed as such and not entered; of the others,
    every manifest is listed.

    Args:
        entries: the files below ``root``, with their full paths.
        root: the directory, ``""`` for the artifact's root.
    """
    start = len(root) + 1 if root else 0
    relative = [entry.path[start:] for entry in entries]
    bases = {
        posixpath.dirname(path) for path in relative if posixpath.basename(path) in FILE_NAMES
    } - {""}
    listed: dict[str, None] = {}
    for path in sorted(relative, key=source_tree.walk_key):
        base = _outermost(path, bases)
        if base is not None or path.endswith(_MANIFESTS):
            listed[base if base is not None else path] = None
    return list(listed)


def _outermost(path: str, bases: set[str]) -> str | None:
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        directory = "/".join(parts[:count])
        if directory in bases:
            return directory
    return None


def generated(listed: Sequence[str]) -> dict[str, Any]:
    """Return the kustomization file for a directory that has none."""
    document: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
    }
    if listed:
        document["resources"] = [f"./{path}" for path in listed]
    else:
        document["namespace"] = "_placeholder"
    return document


def known_fields(document: dict[str, Any]) -> dict[str, Any]:
    """Return a root kustomization file without the fields that kustomize does not know."""
    kept = {
        _FIELDS[key.lower()]: value
        for key, value in document.items()
        if key.lower() in _FIELDS and value is not None
    }
    if not any(kept.get(name) for name in _RESOURCE_FIELDS):
        kept["buildMetadata"] = ["originAnnotations"]
    return kept


def changes_build(spec: KustomizationSpec) -> bool:
    """Whether the spec asks for anything that only kustomize can do."""
    return bool(
        spec.target_namespace
        or spec.name_prefix
        or spec.name_suffix
        or spec.patches
        or spec.images
        or spec.components
        or spec.build_metadata
    )


def override(
    document: dict[str, Any], spec: KustomizationSpec, *, exists: Callable[[str], bool]
) -> dict[str, Any]:
    """Return the root kustomization file with the spec's changes, in Flux's order.

    Args:
        document: the file, decoded; not changed.
        spec: the Kustomization's.
        exists: whether a path relative to the file is there, for ``ignoreMissingComponents``.

    Raises:
        BuildError: a component is not a local relative path.
    """
    replaced = {
        "namespace": spec.target_namespace,
        "namePrefix": spec.name_prefix,
        "nameSuffix": spec.name_suffix,
        "buildMetadata": list(spec.build_metadata),
    }
    changed = document | {name: value for name, value in replaced.items() if value}
    changed = transformed(changed, spec.patches, spec.images)
    if spec.components:
        components = _components(spec, exists)
        changed["components"] = [*_list(document, "components"), *components]
    return changed


def transformed(
    document: dict[str, Any], patches: Sequence[Patch], images: Sequence[Image]
) -> dict[str, Any]:
    """Return a kustomization file with patches and images added to its own.

    Raises:
        BuildError: its own are no lists.
    """
    changed = dict(document)
    if patches:
        added = [msgspec.to_builtins(patch) for patch in patches]
        changed["patches"] = [*_list(document, "patches"), *added]
    if images:
        changed["images"] = _images(_list(document, "images"), images)
    return changed


def _list(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name) or []
    if not isinstance(value, list):
        raise BuildError(f"kustomize build failed: field {name!r} of the kustomization is no list")
    return value


def _components(spec: KustomizationSpec, exists: Callable[[str], bool]) -> list[str]:
    kept = []
    for path in spec.components:
        if "://" in path or "@" in path or posixpath.isabs(path):
            raise BuildError(f"component path '{path}' must be local and relative")
        if not spec.ignore_missing_components or exists(path):
            kept.append(path)
    return kept


def _images(own: list[Any], wanted: Sequence[Image]) -> list[dict[str, Any]]:
    """Merge images by name: a new name replaces; tag and digest replace as a pair."""
    merged = {str(image.get("name", "")): dict(image) for image in own if isinstance(image, dict)}
    for image in wanted:
        entry = merged.setdefault(image.name, {"name": image.name})
        if image.new_name:
            entry["newName"] = image.new_name
        if image.new_tag or image.digest:
            entry.pop("newTag", None)
            entry.pop("digest", None)
        if image.new_tag:
            entry["newTag"] = image.new_tag
        if image.digest:
            entry["digest"] = image.digest
    return list(merged.values())
