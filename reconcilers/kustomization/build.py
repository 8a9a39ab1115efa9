"""Builds a Kustomization's directory into objects, doing as little as the change demands.

The same inputs are not built again: the build key covers the content of every file that is read,
the spec's fields that matter, the tools and this program. A directory of plain manifests is read
here, one changed file at a time; everything else goes through kustomize, in a private directory
that holds the files of the artifact that it reads and nothing else.

::

    manifest.BuildError      the source cannot be built; message as Flux words it
    planning.PathNotFound    there is no such directory in the source
    workplace.DirectoryError there is no private directory to build in
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from kube import manifests
from reconcilers.kustomization import (
    decryption,
    documents,
    manifest,
    plain,
    planning,
    store,
    substitution,
)
from reconcilers.kustomization.kustomize import Kustomize
from reconcilers.kustomization.manifest import BuildError
from sources import tree as source_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kube.objects import JsonObject
    from reconcilers.context import ReconcileSettings, Tools
    from reconcilers.kustomization.checkouts import Checkout
    from reconcilers.kustomization.planning import Plan, Request
    from reconcilers.kustomization.store import Build, Known, Store, Unit
    from reconcilers.kustomization.workplace import Workplace
    from runtime.limits import Processes, Threads
    from sources.tree import Tree


@dataclass(frozen=True, slots=True)
class Built:
    """A build, and how it came about."""

    build: Build
    way: str
    """``reused``, ``plain`` or ``kustomize``."""


class _NotPlainError(Exception):
    """A file needs kustomize after all."""


class Builder:
    """Builds for one cluster.

    Args:
        store: keeps the results.
        threads: reads and parses.
        processes: runs kustomize.
        tools: says where kustomize is.
        settings: the cluster's.
        workplace: makes build directories and decrypts.
    """

    def __init__(
        self,
        store: Store,
        threads: Threads,
        processes: Processes,
        *,
        tools: Tools,
        settings: ReconcileSettings,
        workplace: Workplace,
    ) -> None:
        self._store, self._threads = store, threads
        self._tools, self._settings, self._workplace = tools, settings, workplace
        self._program = Kustomize(tools.kustomize, processes, settings.build_timeout_s)

    async def build(self, request: Request) -> Built:
        """Return the build of a request, the last one if nothing that matters has changed.

        Raises:
            PathNotFound: there is no such directory.
            BuildError: the source cannot be built.
            TransientError: an object may not be applied as it is.
            DirectoryError: there is no private directory to build in.
            OSError: the artifact cannot be read, or the build not be written.
        """
        await self._workplace.clean()
        plan, last = await self._threads.run(self._look, request)
        if last is not None and last.key == plan.key and not plan.closure.remote:
            return Built(last, "reused")
        if plan.is_plain:
            with contextlib.suppress(_NotPlainError):
                return Built(await self._save(request, plan, _plain_units), "plain")
        text = await self._kustomize(request, plan)
        known = last.units if last and last.scope == plan.scope else {}
        opened = await self._open(request, known, text)
        return Built(await self._save(request, plan, documents.units, text, opened), "kustomize")

    def _look(self, request: Request) -> tuple[Plan, Build | None]:
        """Plan a build, and find the last one."""
        plan = planning.plan(request, self._tools.kustomize_version)
        return plan, self._store.load(request.name)

    async def _open(
        self, request: Request, known: Known, output: bytes
    ) -> Mapping[bytes, JsonObject]:
        """Decrypt the objects that are new and encrypted."""
        if request.keys is None:
            return {}
        suspects = documents.suspects(request, known, output)
        found = await self._threads.run(decryption.sealed_objects, suspects)
        return await decryption.open_objects(self._workplace.sops, request.keys, found)

    async def _open_files(self, request: Request, plan: Plan) -> Mapping[str, bytes]:
        """Decrypt the files that generators and patches read."""
        if request.keys is None:
            return {}
        files = await self._threads.run(
            decryption.sealed_files, request.tree, plan.closure.sealable
        )
        return await decryption.open_files(self._workplace.sops, request.keys, files)

    async def _save(
        self, request: Request, plan: Plan, units: Callable[..., Iterator[Unit]], *args: object
    ) -> Build:
        """Make the units and write them, in a thread; from nothing if the file was lost."""

        def save() -> Build:
            last = self._store.load(request.name)
            known = last.units if last and last.scope == plan.scope else {}
            found = units(request, plan, known, *args)
            is_plain = units is _plain_units
            made = _unique(found, known, is_plain=is_plain)
            is_private = request.is_private and not is_plain
            return self._store.save(request.name, plan.key, plan.scope, made, is_private=is_private)

        try:
            return await self._threads.run(save)
        except store.StaleBuildError:
            await self._threads.run(self._store.drop, request.name)
            return await self._threads.run(save)

    async def _kustomize(self, request: Request, plan: Plan) -> bytes:
        self._program.require()
        if plan.closure.remote and not self._settings.allow_remote_bases:
            remote = ", ".join(sorted(plan.closure.remote))
            raise BuildError(f"kustomize build failed: remote bases are not allowed: {remote}")
        opened = await self._open_files(request, plan)
        is_private, is_kept = request.keys is not None, False
        checkout = await self._workplace.take(request.name, is_private=is_private)
        try:
            await self._threads.run(_materialise, checkout, request.tree, plan, opened)
            confined = plan.closure.is_unsure
            output = await self._program.build(checkout.directory, plan.root, confined=confined)
            await self._threads.run((checkout.directory / plan.file).unlink)
            is_kept = not is_private and not plan.closure.remote
        finally:
            await self._workplace.give(request.name, checkout, is_kept=is_kept)
        return output


def _plain_units(request: Request, plan: Plan, known: Known) -> Iterator[Unit]:
    """Yield one unit per manifest file; only files that the last build does not have are read.

    Raises:
        _NotPlainError: kustomize has to decide.
        BuildError: a file is no YAML of Kubernetes objects.
    """
    for entry in plan.manifests:
        key = planning.hash_of("file", entry.path, entry.id).encode()
        yield store.Unit(key) if key in known else _file_unit(key, request, entry.path)


def _file_unit(key: bytes, request: Request, path: str) -> Unit:
    content = request.tree.read(path)
    if request.variables is not None and substitution.concerns(content):
        raise _NotPlainError  # quotes would survive here, and with them other types
    is_exact = plain.is_exact(content)
    found = []
    try:
        for obj, origin in manifest.objects(manifests.load_all(content), path):
            is_sealed = request.keys is not None and decryption.is_sealed(obj)
            if is_sealed or not is_exact or not plain.is_ordinary(obj):
                raise _NotPlainError
            found.append(request.finish.object(obj, origin))
    except (manifests.ManifestError, BuildError) as err:
        raise BuildError(f"failed to decode Kubernetes YAML from {path}: {err}") from err
    return store.Unit(key, tuple(found))


def _unique(units: Iterator[Unit], known: Known, *, is_plain: bool) -> Iterator[Unit]:
    """Pass units on, and see that no object comes twice.

    Raises:
        _NotPlainError: in a plain directory: kustomize words it.
        BuildError: kustomize let it pass, since the API versions differ.
    """
    seen: dict[tuple[str, ...], str] = {}
    for unit in units:
        items = known[unit.key] if unit.objects is None else [item for item, _ in unit.objects]
        for item in items:
            identity = (item.id.kind, item.id.group, item.id.namespace or "default", item.id.name)
            if identity in seen:
                if is_plain:
                    raise _NotPlainError
                raise BuildError(f"{item.id} is declared twice: {seen[identity]}, {item.origin}")
            seen[identity] = item.origin
        yield unit


def _materialise(checkout: Checkout, tree: Tree, plan: Plan, opened: Mapping[str, bytes]) -> None:
    """Write out what the build reads, and the kustomization file it starts from.

    ``opened`` has the content of files that are encrypted in the tree.
    """
    read, is_whole = plan.closure.files, plan.closure.is_whole
    entries = [entry for entry in tree.entries() if is_whole or entry.path in read]
    checkout.update(tree, [entry for entry in entries if entry.path != plan.file])
    for path, content in opened.items():
        (checkout.directory / source_tree.check_path(path)).write_bytes(content)
    file = checkout.directory / source_tree.check_path(plan.file)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.encode(plan.document))
