"""The files of a commit's tree, read straight from the object store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sources import gitpack
from sources import tree as trees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sources.gitstore import Store
    from sources.tree import Entry

_EXECUTABLE = 0o111


class GitFiles:
    """The regular files of one tree, as `sources.composed.Files`.

    Symbolic links and submodules are left out, as in Flux.

    Args:
        store: where the objects are; they are kept there for as long as this lives.
        root: the tree's id, 40 hex digits.
    """

    def __init__(self, store: Store, root: str) -> None:
        self.root = root
        self._store = store
        store.protect(self)

    def entries(self) -> Sequence[Entry]:
        """Return all of them in the order of a lexical directory walk.

        Raises:
            gitstore.DamagedError: the store has lost the tree.
            gitstore.TooLargeError: the tree is larger than anything sensible.
            tree.UnsafePathError: a path would leave the artifact.
        """
        return [
            trees.Entry(trees.check_path(path), blob, _mode(mode))
            for path, mode, blob in self._store.walk(self.root)
            if mode & gitpack.KIND == gitpack.FILE
        ]

    def content(self, entry: Entry) -> bytes:
        """Return what is in one of them.

        Raises:
            gitstore.DamagedError: the store has lost it.
        """
        return self._store.blob(entry.id)

    def submodules(self) -> dict[str, str]:
        """Return path and commit of each submodule, in the order of the walk.

        Raises:
            OSError: see `entries`.
        """
        return {
            trees.check_path(path): commit.hex()
            for path, mode, commit in self._store.walk(self.root)
            if mode & gitpack.KIND == gitpack.SUBMODULE
        }


def _mode(git_mode: int) -> int:
    return trees.EXECUTABLE_MODE if git_mode & _EXECUTABLE else trees.FILE_MODE
