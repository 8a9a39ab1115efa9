"""Keeps values that are nobody's business out of what is shown.

A Secret's values go whatever they are. Elsewhere a value goes when the name of its field, of its
environment variable or of its Helm value says that it is a password, a token or a key, and when a
text looks like one of the well-known forms of credentials. What names a Secret stays. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from kube import fielddiff

if TYPE_CHECKING:
    from kube.objects import JsonObject

MASK: Final = fielddiff.MASK
_TELLING: Final = re.compile(
    r"(?i)(passw(or)?d|passphrase|(?<!page)(?<!continue)tokens?$|secret[-_]?(access[-_]?)?key"
    r"|api[-_]?key|private[-_]?key|access[-_]?key|client[-_]?secret|credentials?$|^secret$"
    r"|(^|[-_.])(pwd|pass|secret)$|connection[-_]?string|dsn$)"
)
_LEADING: Final = re.compile(
    r"(?i)(ref|name|file|path|mount|policy|class|type|namespace|selector)s?$"
)
"""Ends of names that lead to a secret and are none."""
_INLINE: Final = re.compile(
    r"""(?x)
    (?P<url>(?<=://)[^/\s:@]+:[^/\s@]+(?=@))
    | (?P<bearer>(?<=[Bb]earer\s)[A-Za-z0-9._~+/=-]{12,})
    | \b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{15,}
        |xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16}|AGE-SECRET-KEY-1[A-Z0-9]{50,}
        |eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)
    | -----BEGIN[ A-Z]*PRIVATE\ KEY-----[\s\S]*?(?:-----END[ A-Z]*PRIVATE\ KEY-----|\Z)
    | (?<=password=)[^\s&;"']+ | (?<=token=)[^\s&;"']+
    """
)
_VARIABLE: Final = re.compile(r"\[name=(?P<name>[^\]]+)\]\Z")
_MEMBERS: Final = re.compile(r"\[[^\]]*\]\Z")
_COPY: Final = "kubectl.kubernetes.io/last-applied-configuration"


def text(value: str) -> str:
    """Return a text, such as a log, without the credentials that can be told by their form."""
    return _INLINE.sub(MASK, value)


def document(obj: JsonObject) -> JsonObject:
    """Return an object without its secret values, nor the copy of itself that kubectl keeps."""
    shown = fielddiff.masked_object(obj)
    annotations = (shown.get("metadata") or {}).get("annotations") or {}
    if _COPY in annotations:
        kept = {key: value for key, value in annotations.items() if key != _COPY}
        shown = shown | {"metadata": shown["metadata"] | {"annotations": kept}}
    if fielddiff.is_secret(obj):
        return shown
    found: JsonObject = tree(shown)
    return found


def tree(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a JSON value without what a name or a form gives away as a secret."""
    if isinstance(value, dict):
        if _is_variable(value):
            return value | {"value": MASK}
        return {key: _member(str(key), each) for key, each in value.items()}
    if isinstance(value, list):
        return [tree(each) for each in value]
    return text(value) if isinstance(value, str) else value


def is_telling(name: str) -> bool:
    """Tell whether a field of this name holds a secret."""
    return bool(_TELLING.search(name)) and not _LEADING.search(name)


def member(path: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of a field, masked where the field's path says that it is a secret.

    Args:
        path: as a difference names it: ``spec.containers[name=web].env[name=TOKEN].value``.
        value: what is there.
    """
    head, _, last = path.rpartition(".")
    variable = _VARIABLE.search(head) if last == "value" else None
    name = variable["name"] if variable else last
    return _member(_MEMBERS.sub("", name), value)


def arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call for a log: manifests in them are not shown at all."""
    shown: dict[str, Any] = tree(given)
    for key in ("yaml_content", "values"):
        if shown.get(key):
            shown[key] = f"({len(str(given[key]))} characters)"
    return shown


def _member(name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
    is_value = isinstance(value, str | int | float) and not isinstance(value, bool)
    return MASK if is_value and value != "" and is_telling(name) else tree(value)


def _is_variable(value: dict[str, Any]) -> bool:
    """Tell an environment variable (or another pair of name and value) that holds a secret."""
    return isinstance(value.get("value"), str) and is_telling(str(value.get("name") or ""))
