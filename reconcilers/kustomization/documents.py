"""From kustomize's output to units of a build: one document, one unit.

A document is known by its text and by what is done to it, so that a document that did not change
under variables that did not change is neither parsed nor substituted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube import manifests
from reconcilers.kustomization import manifest, planning, store, substitution
from reconcilers.kustomization.manifest import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kube.objects import JsonObject
    from reconcilers.kustomization.planning import Plan, Request
    from reconcilers.kustomization.store import Known, Unit


def units(request: Request, _: Plan, known: Known, output: bytes) -> Iterator[Unit]:
    """Yield one unit per document of kustomize's output, reading those that are new.

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
        found = manifest.objects(_read(request, text, place), place)
        yield store.Unit(key, tuple(request.finish.object(obj, where) for obj, where in found))


def _key(request: Request, text: bytes) -> bytes:
    if request.variables is not None and substitution.concerns(text):
        return planning.hash_of("document", text, request.variables.identity).encode()
    return planning.hash_of("document", text).encode()


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
