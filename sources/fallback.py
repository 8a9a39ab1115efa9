"""A tree with a second one to turn to, should the first be lost or damaged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from sources import tree as trees

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sources.tree import Entry, Tree

T = TypeVar("T")

logger = logging.getLogger(__name__)


class FallbackTree:
    """Reads one tree until it fails, and the other from then on. Both must show the same.

    Args:
        first: the better one to read from.
        second: the one to turn to.
    """

    def __init__(self, first: Tree, second: Tree) -> None:
        self._tree = first
        self._second = second

    @property
    def id(self) -> str:
        """See `sources.tree.Tree`."""
        return self._ask(lambda tree: tree.id)

    def entries(self) -> Sequence[Entry]:
        """See `sources.tree.Tree`."""
        return self._ask(lambda tree: tree.entries())

    def read(self, path: str) -> bytes:
        """See `sources.tree.Tree`."""
        return self._ask(lambda tree: tree.read(path))

    def checkout(self, directory: Path, prefix: str = "") -> None:
        """See `sources.tree.Tree`."""
        trees.write_out(self, directory, prefix)

    def _ask(self, question: Callable[[Tree], T]) -> T:
        try:
            return question(self._tree)
        except FileNotFoundError:
            raise
        except OSError as err:
            if self._tree is self._second:
                raise
            logger.warning("reading an artifact's file instead", extra={"error": str(err)})
            self._tree = self._second
            return question(self._tree)
