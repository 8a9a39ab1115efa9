"""The verbs of the Kubernetes API, on bytes.

A response is bytes, and each caller decodes what it needs: a `PartialObject`, a typed kind, or (for
a decision that needs the whole) a dict. Every method raises `kube.errors.ApiError` and nothing else
that a server or a network can cause.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import urlencode

import msgspec
import orjson

from api import meta
from kube.objects import PartialMeta, PartialObject, Resource
from kube.transport import Call, Media, Reply, Transport

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    import aiohttp

    from kube.auth import Connection
    from kube.objects import JsonObject
    from runtime.metrics import Metrics

JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

_PARTIAL: Final = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_PARTIAL_LIST: Final = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_FIELD_VALIDATION: Final = "Ignore"
"""Spares the server a second parse of each body, for warnings that nobody reads: unknown fields are
found by `kube.normalise`, and there are no doubled ones in JSON of our own."""
_READ = Media(JSON)
_READ_PARTIAL = Media(_PARTIAL)
_WRITE = Media(JSON, JSON)
_APPLY = Media(JSON, APPLY)


class Applied(NamedTuple):
    """The answer to a server-side apply."""

    created: bool
    """Whether the object did not exist (or, in a dry run, does not)."""
    raw: bytes
    """The object as it is (or would be) now, JSON."""


class _ListMeta(meta.Struct, frozen=True):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _ListHead(meta.Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()


_LIST_HEAD = msgspec.json.Decoder(_ListHead)
_PARTIAL_OBJECT = msgspec.json.Decoder(PartialObject)


class Client:
    """One cluster's API, as one user. An async context manager.

    Args:
        connection: where the server is and how to prove who we are.
        cluster: the cluster's name in ``config.toml``.
        metrics: counts ``rest_client_requests_total``; None where nobody looks.
        user_agent: sent with each request; also the API server's name for us in its audit log.
        max_connections: requests in flight at most; watches are not counted.
        impersonate: a user to act as, e.g. ``system:serviceaccount:apps:deployer``.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        cluster: str,
        metrics: Metrics | None = None,
        user_agent: str = meta.DAEMON_MANAGER,
        max_connections: int = 32,
        impersonate: str | None = None,
    ) -> None:
        self._identity = impersonate or ""
        self._is_managing = False
        self._transport = Transport(
            connection,
            cluster=cluster,
            metrics=metrics,
            user_agent=user_agent,
            max_connections=max_connections,
        )

    @property
    def cluster(self) -> str:
        """The cluster's name in ``config.toml``."""
        return self._transport.cluster

    @property
    def server(self) -> str:
        """The API server's address, for messages."""
        return self._transport.connection.server

    @property
    def requests(self) -> Counter[tuple[str, str]]:
        """Requests sent so far by (verb, plural), every identity together; see `Transport`.

        Verbs are ``get list watch create apply dry-run patch delete``; a dry run of any kind counts
        as ``dry-run``.
        """
        return self._transport.requests

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    def impersonating(self, user: str) -> Client:
        """Return a view of this client that acts as another user over the same connections.

        It needs no closing and ends with this client.

        Args:
            user: the user name, e.g. ``system:serviceaccount:apps:deployer``.
        """
        return self._view(user, is_managing=self._is_managing)

    def managing(self) -> Client:
        """Return a view whose requests are about managed objects, and counted as such.

        It needs no closing and ends with this client.
        """
        return self._view(self._identity, is_managing=True)

    def _view(self, identity: str, *, is_managing: bool) -> Client:
        view = object.__new__(Client)
        view._identity, view._is_managing = identity, is_managing
        view._transport = self._transport
        return view

    async def _send(self, call: Call) -> Reply:
        if self._is_managing:
            self._transport.count_managed(call.verb)
        return await self._transport.send(call, self._identity)

    async def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        """Return one whole object.

        Raises:
            NotFound: there is none.
        """
        call = Call("GET", "get", resource.plural, resource.path(namespace, name), _READ)
        reply = await self._send(call)
        obj: JsonObject = orjson.loads(reply.body)
        return obj

    async def get_raw(
        self, path: str, *, params: Mapping[str, str] | None = None, accept: str = ""
    ) -> bytes:
        """Return the body of any path, e.g. ``/version``.

        Args:
            path: percent-encoded, from the server's root.
            params: query parameters.
            accept: which form of it; plain JSON where empty.
        """
        media = Media(accept) if accept else _READ
        call = Call("GET", "get", path, _target(path, params or {}), media)
        return (await self._send(call)).body

    async def metadata(self, resource: Resource, namespace: str, name: str) -> PartialMeta:
        """Return the metadata of one object, with its managers.

        Raises:
            NotFound: there is no such object.
        """
        call = Call("GET", "get", resource.plural, resource.path(namespace, name), _READ_PARTIAL)
        reply = await self._send(call)
        return _PARTIAL_OBJECT.decode(reply.body).metadata

    async def apply(
        self,
        resource: Resource,
        body: bytes,
        namespace: str,
        name: str,
        *,
        manager: str,
        force: bool = True,
        dry_run: bool = False,
    ) -> Applied:
        """Apply one object server-side.

        Args:
            resource: its kind.
            body: the object, JSON.
            namespace: where it goes; empty for a cluster-scoped kind.
            name: its name, the same as in the body.
            manager: the field manager.
            force: take fields over from other managers.
            dry_run: run everything but the write.

        Raises:
            Conflict: without ``force``, another manager owns a field.
            Invalid: the object breaks its schema.
        """
        query = f"?fieldManager={manager}&force={str(force).lower()}"
        query += f"&fieldValidation={_FIELD_VALIDATION}" + ("&dryRun=All" if dry_run else "")
        call = Call(
            "PATCH",
            "dry-run" if dry_run else "apply",
            resource.plural,
            resource.path(namespace, name) + query,
            _APPLY,
            body,
        )
        status, raw = await self._send(call)
        return Applied(status == 201, raw)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        *,
        manager: str,
        content_type: str = MERGE,
        subresource: str = "",
        dry_run: bool = False,
    ) -> bytes:
        """Patch one object, or its subresource, and return what it is now.

        Args:
            resource: its kind.
            namespace: where it is; empty for a cluster-scoped kind.
            name: its name.
            body: the patch. A resourceVersion in it makes the write conditional.
            manager: the field manager.
            content_type: ``MERGE`` or ``JSON_PATCH``.
            subresource: e.g. ``status``.
            dry_run: run everything but the write.
        """
        call = Call(
            "PATCH",
            "dry-run" if dry_run else "patch",
            resource.plural,
            _target(resource.path(namespace, name, subresource), _write_params(manager, dry_run)),
            Media(JSON, content_type),
            body,
            is_idempotent=content_type != JSON_PATCH,
        )
        return (await self._send(call)).body

    async def create(
        self,
        resource: Resource,
        namespace: str,
        body: bytes,
        *,
        manager: str,
        dry_run: bool = False,
    ) -> bytes:
        """Create one object and return it.

        Args:
            resource: its kind.
            namespace: where it goes; empty for a cluster-scoped kind.
            body: the object, JSON.
            manager: the field manager.
            dry_run: run everything but the write.

        Raises:
            AlreadyExists: there is one of that name.
        """
        target = _target(resource.path(namespace), _write_params(manager, dry_run))
        verb = "dry-run" if dry_run else "create"
        call = Call("POST", verb, resource.plural, target, _WRITE, body, is_idempotent=False)
        return (await self._send(call)).body

    async def replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        *,
        manager: str,
        dry_run: bool = False,
    ) -> bytes:
        """Replace one object by another state of it and return what it is now.

        Args:
            resource: its kind.
            namespace: where it is; empty for a cluster-scoped kind.
            name: its name.
            body: the object, JSON, with the resourceVersion it was read at.
            manager: the field manager.
            dry_run: run everything but the write.

        Raises:
            Conflict: it changed since.
        """
        target = _target(resource.path(namespace, name), _write_params(manager, dry_run))
        verb = "dry-run" if dry_run else "update"
        call = Call("PUT", verb, resource.plural, target, _WRITE, body, is_idempotent=False)
        return (await self._send(call)).body

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        propagation: str = "Background",
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Ask for the deletion of one object; finalizers may keep it for a while.

        Args:
            resource: its kind.
            namespace: where it is; empty for a cluster-scoped kind.
            name: its name.
            propagation: ``Background``, ``Foreground`` or ``Orphan``.
            uid: delete only this very object.
            resource_version: delete only if it did not change since.

        Raises:
            NotFound: there is none.
            Conflict: it is another object of that name, or it changed.
            ValueError: the name is empty, which would mean every object of the kind.
        """
        if not name:
            raise ValueError(f"a deletion names one {resource.gvk.kind}")
        wanted = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in wanted.items() if value is not None}
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": preconditions,
        }
        call = Call(
            "DELETE",
            "delete",
            resource.plural,
            resource.path(namespace, name),
            _WRITE,
            orjson.dumps(options),
        )
        await self._send(call)

    async def list_pages(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        limit: int = 250,
    ) -> AsyncIterator[bytes]:
        """List a collection page by page, so that no list is ever whole in memory.

        All pages are of one moment: the resourceVersion of the first.

        Args:
            resource: the kind.
            namespace: one namespace; empty for all.
            label_selector: which labels.
            field_selector: which fields.
            metadata_only: items are `PartialObject`.
            limit: objects a page.

        Yields:
            The JSON of each page.

        Raises:
            Gone: the list took so long that the server forgot its moment; start again.
        """
        params = _selectors(label_selector, field_selector) | {"limit": str(limit)}
        path = resource.path(namespace)
        media = Media(_PARTIAL_LIST) if metadata_only else _READ
        while True:
            call = Call("GET", "list", resource.plural, _target(path, params), media)
            page = (await self._send(call)).body
            following = _LIST_HEAD.decode(page).metadata.continue_
            yield page
            if not following:
                return
            del page  # one page at a time
            params["continue"] = following

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open what a Service of the cluster answers, and yield its pieces as they arrive.

        Args:
            path: of the proxy for Services, percent-encoded, from the server's root.

        Raises:
            NotFound: there is nothing.
        """
        call = Call("GET", "get", "services", path, Media("*/*"))
        async with self._transport.stream(call, self._identity) as pieces:
            yield pieces

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        timeout_s: int,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch with bookmarks; `kube.watch` makes events of its bytes.

        Args:
            resource: the kind.
            resource_version: events after this one.
            timeout_s: when the server ends it.
            namespace: one namespace; empty for all.
            label_selector: which labels.
            field_selector: which fields.
            metadata_only: objects are `PartialObject`.

        Yields:
            The pieces of the response as they arrive, not split into lines.

        Raises:
            Gone: the resourceVersion is too old.
        """
        params = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
        }
        media = _READ_PARTIAL if metadata_only else _READ
        target = _target(resource.path(namespace), params)
        call = Call("GET", "watch", resource.plural, target, media)
        async with self._transport.stream(call, self._identity) as pieces:
            yield pieces

    @asynccontextmanager
    async def relay(
        self, method: str, target: str, media: Media, body: bytes | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request of another program's with our credentials and yield the answer.

        Args:
            method: the HTTP method.
            target: path and query, percent-encoded.
            media: what it sends and wants back.
            body: what it sends.

        Raises:
            ApiError: the server did not answer; a refusal is an answer.
        """
        call = Call(method, "relay", "", target, media, body)
        async with self._transport.relay(call, self._identity) as response:
            yield response


def _target(path: str, params: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(params)}" if params else path


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    params = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in params.items() if value}


def _write_params(manager: str, dry_run: bool) -> dict[str, str]:
    params = {"fieldManager": manager, "fieldValidation": _FIELD_VALIDATION}
    if dry_run:
        params["dryRun"] = "All"
    return params
