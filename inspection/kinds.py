"""The kinds by the words people use for them: Flux's, kubectl's, and those of the flux CLI.

What the daemon reconciles is known by itself: a kind that is added to `daemon.kinds` is found here
under its name, its plural and its short names.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from daemon import kinds
from inspection import failure, names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OTHER_WORDS: Final = {
    "git": "GitRepository",
    "gitrepo": "GitRepository",
    "oci": "OCIRepository",
    "ocirepo": "OCIRepository",
    "helm": "HelmRepository",
    "helmrepo": "HelmRepository",
    "chart": "HelmChart",
    "hc": "HelmChart",
    "bucket": "Bucket",
    "external": "ExternalArtifact",
    "ea": "ExternalArtifact",
    "ks": "Kustomization",
    "hr": "HelmRelease",
    "instance": "FluxInstance",
    "instances": "FluxInstance",
    "alert-provider": "Provider",
    "rset": "ResourceSet",
    "rsip": "ResourceSetInputProvider",
    "imgrepo": "ImageRepository",
    "imgpol": "ImagePolicy",
    "imgauto": "ImageUpdateAutomation",
}
"""Words of the flux and flux-operator CLIs that no definition carries."""
_PREFIXES: Final = frozenset({"source", "sources"})
_NEAREST: Final = 3
USAGE: Final = (
    "source git | kustomization | receiver | instance | ... (`gitopsd get --help` has all)"
)
"""How help texts name the kinds."""


def words() -> Mapping[str, kinds.Kind]:
    """Return every word in lower case with its kind."""
    found: dict[str, kinds.Kind] = {}
    for kind in kinds.ALL:
        display = kind.type.DISPLAY
        for word in (kind.name.lower(), kind.type.PLURAL, *display.short_names):
            found[word] = kind
    for word, name in _OTHER_WORDS.items():
        if name in kinds.BY_NAME:
            found.setdefault(word, kinds.BY_NAME[name])
    return found


def sources() -> tuple[kinds.Kind, ...]:
    """Return the kinds that bring artifacts."""
    return tuple(kind for kind in kinds.ALL if kind.gvk.group == "source.toolkit.fluxcd.io")


def find(word: str) -> kinds.Kind:
    """Return the kind that a word means.

    Raises:
        failure.UsageError: none; the message has the nearest words.
    """
    known = words()
    found = known.get(word.lower())
    if found is None:
        near = difflib.get_close_matches(word.lower(), known, n=_NEAREST)
        if near:
            names = dict.fromkeys(f"{each} ({known[each].name})" for each in near)
            hint = f"did you mean {' or '.join(names)}?"
        else:
            hint = f"known: {', '.join(kind.name for kind in kinds.ALL)}"
        raise failure.UsageError(f"{word!r} names no kind that gitopsd serves; {hint}")
    return found


def parse(given: Sequence[str]) -> tuple[kinds.Kind, list[str]]:
    """Split ``source git NAME``, ``kustomization NAME`` or ``ks/NAME`` into kind and names.

    Raises:
        failure.UsageError: the words name no kind.
    """
    rest = list(given)
    is_source = bool(rest) and rest[0].lower() in _PREFIXES
    if is_source:
        rest.pop(0)
    if not rest:
        known = ", ".join(kind.name for kind in (sources() if is_source else kinds.ALL))
        raise failure.UsageError(f"name a kind: {known}")
    word, slash, name = rest.pop(0).partition("/")
    kind = find(word)
    if slash:
        rest.insert(0, name)
    for each in rest:
        names.check(each)
    return kind, rest
