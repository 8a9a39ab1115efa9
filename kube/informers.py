"""The informers of one cluster, one for each kind that the daemon knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from kube import watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kube.informer import Informer

T = TypeVar("T", bound=watch.HasMeta)


class Informers:
    """Finds an informer by the model that it decodes into, or by the name of the kind.

    Args:
        informers: one for each kind.
    """

    def __init__(self, informers: Iterable[Informer[Any]]) -> None:
        self._by_kind = {each.resource.gvk.kind: each for each in informers}
        self._by_type = {each.type: each for each in self._by_kind.values()}

    def of(self, type_: type[T]) -> Informer[T]:
        """Return the informer of a model.

        Raises:
            KeyError: there is none.
        """
        return self._by_type[type_]

    def named(self, kind: str) -> Informer[Any] | None:
        """Return the informer of a kind such as ``Kustomization``, or None for any other kind."""
        return self._by_kind.get(kind)

    def __iter__(self) -> Iterator[Informer[Any]]:
        """Iterate over all of them, in the order in which they were given."""
        return iter(self._by_kind.values())
