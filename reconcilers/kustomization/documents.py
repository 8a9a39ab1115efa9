"""From kustomize's output to units of a build: one document, one unit.

A document is known by its text and by what is done to it, so that a document that did not change
under keys and variables that did not change is neither opened nor parsed nor substituted again.
The order is Flux's: decryption, then substitution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kube import manifests
from reconcilers.kustomization import manifest, planning, sealed, store, substitution
from reconcilers.kustomization.manifest import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kube.objects import JsonObject
    from reconcilers.kustomization.planning import Plan, Request
    from reconcilers.kustomization.store import Known, Unit


_UNFOLDED: Final = 1 << 20
"""Columns of a line: an expression must not be folded in the middle."""


def suspects(request: Request, known: Known, output: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the new documents that may hold something encrypted, each behind its key."""
    for text in output.split(b"\n---\n"):
        key = _key(request, text)
        if key not in known and sealed.may_be_in(text):
            yield key, text


def units(
    request: Request,
    _: Plan,
    known: Known,
    output: bytes,
    opened: Mapping[bytes, JsonObject],
) -> Iterator[Unit]:
    """Yield one unit per document of kustomize's output, reading those that are new.

    ``opened`` has the objects that were decrypted, by the key of their document.

    Raises:
        BuildError: a document cannot be read, or its variables not be replaced.
        TransientError: an object may not be applied as it is.
    """
    for number, text in enumerate(output.split(b"\n---\n"), start=1):
        key = _key(request, text)
        if key in known:
            yield store.Unit(key)
            continue
        place = f"document {number} of the build"
        plain = manifests.dump(opened[key], width=_UNFOLDED) if key in opened else text
        found = manifest.objects(_read(request, plain, place), place)
        yield store.Unit(key, tuple(request.finish.object(obj, where) for obj, where in found))


def _key(request: Request, text: bytes) -> bytes:
    parts: list[object] = ["document", text]
    is_suspect = request.keys is not None and sealed.may_be_in(text)
    if request.keys is not None and is_suspect:
        parts.append(request.keys.digest)
    if request.variables is not None and (is_suspect or substitution.concerns(text)):
        parts.append(request.variables.identity)
    return planning.hash_of(*parts).encode()


def _read(request: Request, text: bytes, place: str) -> Iterator[object]:
    try:
        for document in manifests.load_all(text):
            yield _finish(request, document, text, place)
    except manifests.ManifestError as err:
        raise BuildError(f"kustomize build failed: {place}: {err}") from err


def _finish(request: Request, document: object, text: bytes, place: str) -> object:
    """Do what the Kustomization asks for beyond kustomize."""
    if request.variables is None or not substitution.concerns(text):
        return document
    if not isinstance(document, dict):
        return document
    obj: JsonObject = document
    manifest.check_identity(obj, place)
    return substitution.substitute(obj, text, request.variables)
