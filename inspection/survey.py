"""All Flux objects of one cluster at a moment, of which trees, traces and graphs are made."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import orjson

from daemon import kinds
from inspection import clusters, failure
from inspection.flux import FluxObject
from kube import errors
from kube.connection import AuthError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from api.meta import ObjectRef
    from daemon.kinds import Kind
    from daemon.settings import Cluster
    from kube.client import Client

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in one cluster."""

    cluster: str
    objects: dict[ObjectRef, FluxObject]
    unread: dict[str, str] = field(default_factory=dict)
    """Kinds that could not be listed, with the reason: no rights, most of the time."""

    def get(self, ref: ObjectRef) -> FluxObject | None:
        """Return an object, None where there is none."""
        return self.objects.get(ref)

    def require(self, ref: ObjectRef) -> FluxObject:
        """Return an object.

        Raises:
            failure.DeniedError: its kind may not be listed.
            failure.MissingError: it is not there.
        """
        found = self.objects.get(ref)
        if found is not None:
            return found
        if ref.kind in self.unread:
            raise failure.DeniedError(f"{ref} cannot be seen: {self.unread[ref.kind]}")
        raise failure.MissingError(f"{ref} is not there; list its kind to see the names")

    def of(self, kind: str) -> list[FluxObject]:
        """Return the objects of a kind."""
        return [each for each in self.objects.values() if each.kind == kind]


def of(cluster: str, objects: Iterable[FluxObject]) -> Survey:
    """Make a survey of objects that are known already."""
    return Survey(cluster, {each.ref: each for each in objects})


async def take(
    client: Client, wanted: Sequence[Kind] | None = None, namespace: str = "", selector: str = ""
) -> Survey:
    """Read the objects of some kinds, all kinds at a time.

    A kind that the cluster does not serve has no objects; one that may not be listed is noted.

    Args:
        client: the cluster.
        wanted: which kinds; all of them where None.
        namespace: of one namespace; empty for all.
        selector: of these labels only.

    Raises:
        errors.ApiError: the cluster does not answer, or refuses the credentials.
    """
    found: dict[str, list[FluxObject]] = {}
    unread: dict[str, str] = {}

    async def read(kind: Kind) -> None:
        try:
            found[kind.name] = [each async for each in _listed(client, kind, namespace, selector)]
        except errors.Forbidden as err:
            unread[kind.name] = str(err)

    chosen = kinds.ALL if wanted is None else tuple(wanted)
    try:
        async with asyncio.TaskGroup() as tasks:
            for kind in chosen:
                tasks.create_task(read(kind), name=f"list {kind.name}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    ordered = [each for kind in chosen for each in found.get(kind.name, ())]
    return Survey(client.cluster, {each.ref: each for each in ordered}, unread)


async def _listed(
    client: Client, kind: Kind, namespace: str, selector: str
) -> AsyncIterator[FluxObject]:
    pages = client.list_pages(kind.resource, namespace=namespace, label_selector=selector)
    try:
        async for page in pages:
            for item in orjson.loads(page)["items"] or ():
                raw = {"apiVersion": kind.gvk.api_version, "kind": kind.name} | item
                yield FluxObject(client.cluster, raw)
    except errors.NotFound:
        return


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What one cluster had to say."""

    cluster: str
    value: T | None
    error: str = ""
    """Why there is no value; empty where there is one."""


async def ask(
    chosen: Sequence[Cluster], question: Callable[[Client], Awaitable[T]]
) -> list[Answer[T]]:
    """Put a question to some clusters at once; one that is away keeps no other from answering."""
    answers: dict[str, Answer[T]] = {}

    async def one(cluster: Cluster) -> None:
        try:
            async with clusters.client(cluster) as client:
                answers[cluster.name] = Answer(cluster.name, await question(client))
        except (errors.ApiError, AuthError) as err:
            answers[cluster.name] = Answer(cluster.name, None, str(err) or type(err).__name__)

    try:
        async with asyncio.TaskGroup() as tasks:
            for cluster in chosen:
                tasks.create_task(one(cluster), name=f"ask {cluster.name}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [answers[cluster.name] for cluster in chosen]
