"""The CustomResourceDefinitions, as package data; ``python -m api.schema`` writes them."""

from __future__ import annotations

from importlib import resources


def load() -> tuple[bytes, ...]:
    """Return each CustomResourceDefinition as one YAML document, in the order of the file names."""
    found = sorted(
        (each for each in resources.files(__name__).iterdir() if each.name.endswith(".yaml")),
        key=lambda each: each.name,
    )
    return tuple(each.read_bytes() for each in found)
