"""The kinds by the words people use for them, those of the flux CLI first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import failure
from daemon import kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = {
    "git": kinds.GIT_REPOSITORY,
    "gitrepository": kinds.GIT_REPOSITORY,
    "gitrepositories": kinds.GIT_REPOSITORY,
    "kustomization": kinds.KUSTOMIZATION,
    "kustomizations": kinds.KUSTOMIZATION,
    "ks": kinds.KUSTOMIZATION,
    "receiver": kinds.RECEIVER,
    "receivers": kinds.RECEIVER,
    "instance": kinds.INSTANCE,
    "instances": kinds.INSTANCE,
}
_PREFIXES = frozenset({"source", "sources"})
USAGE = "source git | kustomization | receiver | instance"
"""How help texts name the kinds."""


def parse(words: Sequence[str]) -> tuple[kinds.Kind, list[str]]:
    """Split ``source git NAME`` or ``kustomization NAME`` into the kind and the names.

    Raises:
        failure.UsageError: the words name no kind.
    """
    rest = list(words)
    if rest and rest[0] in _PREFIXES:
        rest.pop(0)
    kind = _WORDS.get(rest.pop(0).lower()) if rest else None
    if kind is None:
        raise failure.UsageError(f"{' '.join(words)!r} names no kind; known: {USAGE}")
    return kind, rest
