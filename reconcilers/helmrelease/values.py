"""The values of a release: merged as Flux merges them, from references and from the spec.

References are merged in their order, and the inline values over them at the end. A reference with
a ``targetPath`` sets one value in the middle of that, over the inline values, which then are merged
once more: it wins where the map it is set in is, at that moment, the very map of the inline values.
So maps are shared between merges here exactly where Flux shares them: merging copies a map only to
put something into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api import meta
from kube import errors, manifests
from kube.helm import digest, goyaml
from kube.objects import ObjectId
from reconcilers import referenced
from reconcilers.helmchart import values as chart_values
from reconcilers.helmrelease import setpath
from runtime.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from api.helm import HelmRelease, ValuesReference
    from kube.objects import JsonObject
    from reconcilers.context import ClusterContext

DEFAULT_KEY: Final = "values.yaml"
EXACT_FLOAT: Final = 1_000_000
"""Whole numbers from here on are printed by templates with an exponent once they are floating."""


@dataclass(frozen=True, slots=True)
class Values:
    """Merged values."""

    merged: JsonObject
    digest: str
    """``configDigest``, see `kube.helm.digest.of_values`."""

    @property
    def is_exact(self) -> bool:
        """Whether helm reads from `text` what was merged."""
        return bool(_texts(self.merged) == self.merged)

    @property
    def text(self) -> bytes:
        """What helm reads from its standard input: JSON, which is YAML as well.

        Helm takes every number in it for a floating one. A large whole number that a ``targetPath``
        set goes as text, since it would come out as ``1.2345678e+07`` otherwise.
        """
        return msgspec.json.encode(_texts(self.merged))


class UnresolvedError(Exception):
    """A reference cannot be resolved; worded as Flux does."""

    def __init__(self, reference: ValuesReference, namespace: str, reason: str) -> None:
        optional = " optional" if reference.optional else ""
        key = reference.values_key or DEFAULT_KEY
        super().__init__(
            f"could not resolve{optional} {reference.kind} chart values reference "
            f"'{namespace}/{reference.name}' with key '{key}': {reason}"
        )


async def compose(context: ClusterContext, item: HelmRelease) -> Values:
    """Read what ``valuesFrom`` names, in the object's own cluster, and merge it.

    Every read is noted with `kube.references`, which wakes the HelmRelease when one changes.

    Raises:
        TransientError: reason ``ValuesError``; a reference cannot be read or merged, as Flux words
            it.
    """
    owner, namespace = item.ref(context.name), item.metadata.namespace
    found: dict[ObjectId, Mapping[str, bytes] | None] = {}
    for each in item.spec.values_from:
        target = ObjectId(namespace, each.name, "", each.kind)
        if target in found:
            continue
        try:
            found[target] = referenced.data_of(await referenced.read(context, target, owner))
        except errors.NotFound:
            found[target] = None
        except errors.ApiError as err:
            text = str(UnresolvedError(each, namespace, err.message))
            raise TransientError(meta.VALUES_ERROR, text) from err
    try:
        return of(inline(item), resolved(item.spec.values_from, namespace, found))
    except UnresolvedError as err:
        raise TransientError(meta.VALUES_ERROR, str(err)) from err


def inline(item: HelmRelease) -> JsonObject:
    """Return ``spec.values``, decoded anew each time: merging changes maps."""
    values: JsonObject | None = msgspec.json.decode(item.spec.values) if item.spec.values else None
    return values or {}


def resolved(
    references: Sequence[ValuesReference],
    namespace: str,
    objects: Mapping[ObjectId, Mapping[str, bytes] | None],
) -> Iterator[tuple[ValuesReference, str, bytes]]:
    """Yield each reference with its namespace and data; one that may be missing is left out.

    Raises:
        UnresolvedError: an object or a key is missing.
    """
    for each in references:
        data = objects[ObjectId(namespace, each.name, "", each.kind)]
        key = each.values_key or DEFAULT_KEY
        if data is not None and key in data:
            yield each, namespace, data[key]
        elif not each.optional:
            reason = "resource not found" if data is None else "key not found"
            raise UnresolvedError(each, namespace, reason)


def of(values: JsonObject, references: Iterable[tuple[ValuesReference, str, bytes]] = ()) -> Values:
    """Merge inline values and references.

    Args:
        values: the inline ones; maps in them may be changed.
        references: each with its namespace and its data, in order.

    Raises:
        UnresolvedError: the data of a reference cannot be read or merged.
    """
    result: JsonObject = {}
    for reference, namespace, data in references:
        try:
            if reference.target_path:
                result = chart_values.merge(result, values)
                _put(result, reference, data)
            else:
                result = chart_values.merge(result, _document(data))
        except (manifests.ManifestError, ValueError) as err:
            raise UnresolvedError(reference, namespace, str(err)) from err
    merged = chart_values.merge(result, values)
    return Values(merged, digest.of_values(merged))


def _put(result: JsonObject, reference: ValuesReference, data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError as err:
        raise ValueError("the value is not UTF-8") from err
    setpath.put(result, reference.target_path, text, literal=reference.literal)


def _document(data: bytes) -> JsonObject:
    document = manifests.load(data)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError("the values are no map")  # noqa: TRY004 - of the user's, not ours
    return document


def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return values with the keys of all maps sorted and whole numbers of one type."""
    match value:
        case dict():
            return {key: plain(value[key]) for key in sorted(value)}
        case list():
            return [plain(each) for each in value]
        case goyaml.Integer():
            return int(value)
        case _:
            return value


def _texts(value: Any) -> Any:  # noqa: ANN401 - any JSON
    match value:
        case dict():
            return {key: _texts(each) for key, each in value.items()}
        case list():
            return [_texts(each) for each in value]
        case goyaml.Integer():
            return str(int(value)) if abs(value) >= EXACT_FLOAT else int(value)
        case _:
            return value
