"""Substitution in one built object: on its YAML text, which is then read with YAML 1.1's types.

kustomize writes text without the author's quotes wherever YAML allows that, so the look of a value
decides its type, as in Flux: ``${replicas}`` becomes a number, ``"${port}"`` too. A variable whose
value is ``!!str 80``, or one around it that holds a quotation mark, keeps a string.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from api import meta
from kube import manifests
from kube.objects import GVK
from reconcilers.kustomization import envsubst
from reconcilers.kustomization.manifest import BuildError

if TYPE_CHECKING:
    from kube.objects import JsonObject
    from reconcilers.kustomization.variables import Variables

_NAME: Final = re.compile(r"[_A-Za-z][_A-Za-z0-9]*\Z")
_NAME_RULE: Final = "^[_[:alpha:]][_[:alpha:][:digit:]]*$"
"""The same in Flux's words."""
_DISABLED: Final = "disabled"


def concerns(text: bytes) -> bool:
    """Whether substitution could change a text at all."""
    return b"$" in text


def substitute(obj: JsonObject, text: bytes, variables: Variables) -> JsonObject:
    """Return an object with its variables replaced, or itself where it opts out.

    Args:
        obj: the object as it was built, with apiVersion, kind and name.
        text: its YAML, as kustomize writes it.
        variables: see `variables.gather`.

    Raises:
        BuildError: a name or an expression is wrong, a variable has no value, or what comes out is
            not an object; the message names the object and never a value.
    """
    if _is_disabled(obj):
        return obj
    try:
        _check_names(variables)
        expanded = envsubst.expand(text.decode(), variables.values, is_strict=variables.is_strict)
        result = manifests.load(expanded)
    except envsubst.SubstitutionError as err:
        raise _failure(obj, f"variable substitution failed: {err}") from err
    except manifests.ManifestError as err:
        raise _failure(obj, f"YAMLToJSON: {err}") from err
    except ValueError as err:
        raise _failure(obj, str(err)) from err
    if not isinstance(result, dict):
        raise _failure(obj, "the result is not an object")
    return result


def name_of(obj: JsonObject) -> str:
    """Return what messages of a build call an object: ``Deployment.v1.apps/name``, as in Flux."""
    group, version, kind = GVK.of(obj)
    return f"{kind}.{version}.{group or '[noGrp]'}/{obj['metadata']['name']}"


def _failure(obj: JsonObject, problem: str) -> BuildError:
    return BuildError(f"post build failed for '{name_of(obj)}': envsubst error: {problem}")


def _check_names(variables: Variables) -> None:
    for name in variables.values:
        if not _NAME.match(name):
            raise ValueError(f"'{name}' var name is invalid, must match '{_NAME_RULE}'")


def _is_disabled(obj: JsonObject) -> bool:
    metadata = obj["metadata"]
    return any(
        isinstance(values, dict) and values.get(meta.SUBSTITUTE) == _DISABLED
        for values in (metadata.get("labels"), metadata.get("annotations"))
    )
