"""``Chart.yaml`` and ``Chart.lock``: what they say, as Helm reads and writes them.

::

    ChartError (sources.helm.errors)    they are not what Helm could read
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from kube import manifests
from reconcilers.helmchart import values
from sources import semver
from sources.helm.errors import ChartError

if TYPE_CHECKING:
    from collections.abc import Mapping

P = TypeVar("P", bound=msgspec.Struct)

FILE: Final = "Chart.yaml"
REQUIREMENTS: Final = "requirements.yaml"
"""Where charts of ``apiVersion: v1`` list their dependencies."""
V1: Final = "v1"
V2: Final = "v2"
LIBRARY: Final = "library"
_TYPES: Final = frozenset({"", "application", LIBRARY})
_ALIAS: Final = re.compile(r"[a-zA-Z0-9_-]+")
_KEEP: Final = {"deprecated", "enabled", "import-values"}
"""Fields whose values are no text."""


class Part(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The base of what is in the files; what Helm does not know is dropped, as it drops it."""


class Dependency(Part, kw_only=True, omit_defaults=True):
    """A chart that a chart depends on."""

    name: str = ""
    repository: str = ""
    version: str = ""
    condition: str = ""
    tags: tuple[str, ...] = ()
    enabled: bool = False
    import_values: list[Any] = msgspec.field(default_factory=list, name="import-values")
    alias: str = ""

    @property
    def key(self) -> str:
        """The name under which the dependency is a subchart."""
        return self.alias or self.name

    @property
    def is_local(self) -> bool:
        """Whether it lies in the same source as the chart."""
        return not self.repository or self.repository.startswith("file://")


class Maintainer(Part, kw_only=True, omit_defaults=True):
    """Who looks after a chart."""

    name: str = ""
    email: str = ""
    url: str = ""


class Metadata(Part, kw_only=True, omit_defaults=True, rename="camel"):
    """What ``Chart.yaml`` says."""

    api_version: str = ""
    name: str = ""
    version: str = ""
    kube_version: str = ""
    description: str = ""
    type: str = ""
    keywords: tuple[str, ...] = ()
    home: str = ""
    sources: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    maintainers: tuple[Maintainer, ...] = ()
    icon: str = ""
    app_version: str = ""
    deprecated: bool = False
    annotations: dict[str, str] = {}
    condition: str = ""
    tags: str = ""


class Lock(Part, kw_only=True, omit_defaults=False):
    """What ``Chart.lock`` says: the dependencies, each with one version."""

    dependencies: tuple[Dependency, ...] = ()
    digest: str = ""
    generated: str = ""


class _Requirements(Part, kw_only=True):
    dependencies: tuple[Dependency, ...] | None = None


def read(files: Mapping[str, bytes]) -> Metadata:
    """Return what a chart's files say of it.

    Args:
        files: by their path in the chart; `FILE` and, if there is one, `REQUIREMENTS` count.

    Raises:
        ChartError: ``Chart.yaml`` is missing, cannot be read, or says what Helm refuses.
    """
    if FILE not in files:
        raise ChartError(f"{FILE} file is missing")
    metadata = _decode(files[FILE], FILE, Metadata)
    metadata.api_version = metadata.api_version or V1
    if REQUIREMENTS in files:
        found = _decode(files[REQUIREMENTS], REQUIREMENTS, _Requirements).dependencies
        metadata.dependencies = metadata.dependencies if found is None else found
    _check(metadata)
    return metadata


def read_lock(content: bytes, name: str) -> Lock:
    """Return what a lock file says.

    Raises:
        ChartError: it cannot be read.
    """
    return _decode(content, name, Lock)


def write(part: Metadata | Lock) -> bytes:
    """Return a file that says the same, as Helm would write it into a packed chart."""
    plain = msgspec.to_builtins(part)
    for each in plain.get("dependencies", ()):
        each.setdefault("name", "")
        each.setdefault("repository", "")
    if isinstance(part, Metadata) and part.api_version == V1:
        plain.pop("dependencies", None)  # which such a chart has in requirements.yaml
    return manifests.dump(values.in_order(plain))


def _decode(content: bytes, name: str, type_: type[P]) -> P:
    try:
        value = manifests.load(content)
        return msgspec.convert(_texts({} if value is None else value), type_)
    except manifests.ManifestError as err:
        raise ChartError(f"cannot load {name}: {err}") from err
    except msgspec.ValidationError as err:
        raise ChartError(f"cannot load {name}: {err}") from err


def _texts(value: Any, key: str = "") -> Any:  # noqa: ANN401 - a tree of JSON
    """Return a tree with text for each number and truth value, but in the fields that are none."""
    if key in _KEEP:
        return value
    if isinstance(value, dict):
        return {name: _texts(each, name) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) or value is None else str(value)


def _check(metadata: Metadata) -> None:
    """Make text fit for one line, and refuse what Helm refuses."""
    for field in ("name", "description", "home", "icon", "condition", "tags", "app_version",
                  "kube_version"):  # fmt: skip
        setattr(metadata, field, _clean(getattr(metadata, field)))
    name = metadata.name
    if not name:
        raise ChartError("validation: chart.metadata.name is required")
    if name in {".", ".."} or name != posixpath.basename(name):
        raise ChartError(f'validation: chart.metadata.name "{name}" is invalid')
    if not metadata.version:
        raise ChartError("validation: chart.metadata.version is required")
    if semver.parse(metadata.version) is None:
        raise ChartError(f'validation: chart.metadata.version "{metadata.version}" is invalid')
    if metadata.type not in _TYPES:
        raise ChartError("validation: chart.metadata.type must be application or library")
    _check_dependencies(metadata.dependencies)


def _check_dependencies(dependencies: tuple[Dependency, ...]) -> None:
    seen = set()
    for each in dependencies:
        if each.alias and not _ALIAS.fullmatch(each.alias):
            raise ChartError(
                f'validation: dependency "{each.name}" has disallowed characters in the alias'
            )
        if each.key in seen:
            raise ChartError(
                f'validation: more than one dependency with name or alias "{each.key}"'
            )
        seen.add(each.key)


def _clean(text: str) -> str:
    if text.isprintable():
        return text
    spaced = (" " if each.isspace() else each for each in text)
    return "".join(each for each in spaced if each.isprintable())
