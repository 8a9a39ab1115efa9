"""The real helm."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from devcluster import toolcache

if TYPE_CHECKING:
    from pathlib import Path


@cache
def helm_program() -> Path:
    """Return the pinned helm, built the first time."""
    return toolcache.ensure(toolcache.HELM) / "helm"
