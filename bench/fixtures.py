"""The objects that are applied: ConfigMaps, one a file, with or without a kustomization.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

MANAGED = "configmaps"
"""The resource of every object here."""
_FILLER = "the quick brown fox jumps over the lazy dog; " * 4


@dataclass(slots=True)
class Fixture:
    """Some ConfigMaps of one namespace.

    Args:
        namespace: theirs.
        size: how many there are at first.
        has_kustomization: whether a kustomization.yaml lists them, so that kustomize builds them.
        values: what each of them says at the moment, by name.
    """

    namespace: str
    size: int
    has_kustomization: bool = False
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with every object at its first value."""
        self.values = {f"object-{number:04}": "first" for number in range(self.size)}

    @property
    def names(self) -> list[str]:
        """The names of the objects, in order."""
        return sorted(self.values)

    def objects(self) -> list[dict[str, Any]]:
        """Return the manifests."""
        return [self.manifest(name) for name in self.names]

    def manifest(self, name: str) -> dict[str, Any]:
        """Return one manifest."""
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {"app": "bench"}},
            "data": {"value": self.values[name], "name": name, "text": _FILLER},
        }

    def files(self) -> dict[str, str]:
        """Return the folder's files, by their path in the repository."""
        texts = {f"objects/{name}.yaml": dump(self.manifest(name)) for name in self.names}
        if self.has_kustomization:
            texts["objects/kustomization.yaml"] = self._kustomization()
        return texts

    def _kustomization(self) -> str:
        return dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [f"{name}.yaml" for name in self.names],
            }
        )


def dump(obj: dict[str, Any]) -> str:
    """Return a manifest as YAML, as people write it: without anchors."""
    return str(yaml.dump(obj, Dumper=_Dumper, sort_keys=False))


class _Dumper(yaml.CSafeDumper):
    """Writes a value that occurs twice twice, where PyYAML's own refers to the first."""

    def ignore_aliases(self, _data: object) -> bool:
        """Say that nothing is worth an anchor."""
        return True
