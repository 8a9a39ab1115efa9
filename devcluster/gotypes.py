"""Writes the table of Kubernetes' own types: ``python -m devcluster.gotypes``, or ``make types``.

The table is what `kube.typed` needs to bring a manifest of a built-in kind into the form a Go
client would send. It is read from the Go sources of the pinned Kubernetes, since OpenAPI does not
tell which empty fields Go writes and which it leaves out.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from devcluster import gotoolchain, toolcache
from devcluster.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE: Final = Path(__file__).parent.parent / "kube" / "builtin" / "types.txt"
API: Final = "k8s.io/api"
MACHINERY: Final = "k8s.io/apimachinery"
_META: Final = f"{MACHINERY}/pkg/apis/meta/v1"
_OPAQUE: Final = {
    f"{_META}.Time": "time",
    f"{_META}.MicroTime": "microtime",
    f"{_META}.Duration": "duration",
    f"{_META}.FieldsV1": "any",
    f"{MACHINERY}/pkg/runtime.RawExtension": "any",
    f"{MACHINERY}/pkg/api/resource.Quantity": "quantity",
    f"{MACHINERY}/pkg/util/intstr.IntOrString": "intstr",
}
"""Types with a text form of their own."""
_BASIC: Final = (
    {"string": "string", "bool": "bool", "byte": "int"}
    | {f"{sign}int{bits}": "int" for sign in ("", "u") for bits in ("", "8", "16", "32", "64")}
    | {f"float{bits}": "float" for bits in ("32", "64")}
)
_TYPE = re.compile(r"^type (\w+) (?:= )?(.+)$")
_FIELD = re.compile(r'^(?:(\w+)\s+)?([\w.*\[\]]+)(?:\s+`(?:.*?json:"([^"]*)")?.*`)?$')
_IMPORT = re.compile(r'^\t?(?:import )?(?:(\w+) )?"([^"]+)"$')
_GROUP = re.compile(r'GroupName = "([^"]*)"')
_KIND = re.compile(r"^\s+&(\w+)\{\},", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a Go struct; an embedded one has no name."""

    name: str
    type: str
    options: tuple[str, ...]


@dataclass(slots=True)
class Package:
    """What one Go package declares."""

    path: str
    group: str | None = None
    kinds: list[str] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    structs: dict[str, list[str]] = field(default_factory=dict)
    """The lines of each struct, by its name."""

    @property
    def label(self) -> str:
        """The API version for a package of an API group, else the end of the path."""
        folder, version = self.path.split("/")[-2:]
        if self.group is None:
            return f"{folder}/{version}"
        return f"{self.group}/{version}" if self.group else version

    def members(self, name: str) -> list[Member]:
        """Return the fields of a struct."""
        return [_member(line) for line in self.structs.get(name, ())]


class Sources:
    """The Go packages of Kubernetes' API, read as they are asked for.

    Args:
        roots: folder of each module, by its path.
    """

    def __init__(self, roots: dict[str, Path]) -> None:
        self._roots = roots
        self._packages: dict[str, Package] = {}

    def groups(self) -> Iterator[Package]:
        """Iterate over the packages that register kinds, in order of their paths."""
        root = self._roots[API]
        for found in sorted(root.glob("*/*/register.go")):
            yield self.package(f"{API}/{found.parent.relative_to(root).as_posix()}")

    def package(self, path: str) -> Package:
        """Return one package."""
        if path not in self._packages:
            module = next(each for each in self._roots if path.startswith(f"{each}/"))
            self._packages[path] = _parse(path, self._roots[module] / path[len(module) + 1 :])
        return self._packages[path]


class Table:
    """Collects every struct that a kind reaches, as lines of text."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._lines: dict[str, str] = {}

    def lines(self) -> list[str]:
        """Return one line for each struct, sorted by name."""
        for package in self._sources.groups():
            for kind in package.kinds:
                if any(each.type == "metav1.ObjectMeta" for each in package.members(kind)):
                    self._struct(package, kind)
        return [f"{name} {fields}" for name, fields in sorted(self._lines.items())]

    def _struct(self, package: Package, name: str) -> str:
        label = f"{package.label}.{name}"
        if label not in self._lines:
            self._lines[label] = ""
            self._lines[label] = " ".join(sorted(self._fields(package, name)))
        return label

    def _fields(self, package: Package, name: str) -> Iterator[str]:
        for member in package.members(name):
            if member.name == "-":
                continue
            if not member.name:
                yield from self._fields(*self._home(package, member.type))
                continue
            mark = next((_MARKS[each] for each in _MARKS if each in member.options), "")
            yield f"{member.name}{mark}:{self._type(package, member.type)}"

    def _type(self, package: Package, text: str) -> str:
        if text == "[]byte":
            return "bytes"
        for prefix, mark in (("*", "*"), ("[]", "[]")):
            if text.startswith(prefix):
                return mark + self._type(package, text.removeprefix(prefix))
        if text.startswith("map["):
            return "{}" + self._type(package, text.partition("]")[2])
        if text in _BASIC:
            return _BASIC[text]
        home, name = self._home(package, text)
        opaque = _OPAQUE.get(f"{home.path}.{name}")
        if opaque:
            return opaque
        if name in home.aliases:
            return self._type(home, home.aliases[name])
        return self._struct(home, name)

    def _home(self, package: Package, text: str) -> tuple[Package, str]:
        """Return the package that declares a type, and its name there."""
        alias, _, name = text.rpartition(".")
        return (self._sources.package(package.imports[alias]), name) if alias else (package, name)


_MARKS: Final = {"omitzero": "!", "omitempty": "?"}


def _parse(path: str, folder: Path) -> Package:
    package = Package(path)
    for file in sorted(folder.glob("*.go")):
        if file.name.endswith("_test.go") or file.name.startswith(("zz_generated", "generated")):
            continue
        text = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.DOTALL)
        if file.name == "register.go":
            found = _GROUP.search(text)
            package.group = found[1] if found else None
            package.kinds = _KIND.findall(text)
        _scan(package, text.splitlines())
    return package


def _scan(package: Package, lines: list[str]) -> None:
    struct: list[str] | None = None
    for raw in lines:
        line = raw.partition("//")[0].rstrip()
        if struct is not None:
            if line == "}":
                struct = None
            elif line:
                struct.append(line.strip())
        elif found := _TYPE.match(line):
            name, text = found.groups()
            if text == "struct {":
                struct = package.structs.setdefault(name, [])
            elif not text.startswith(("struct", "interface", "func")):
                package.aliases[name] = text
        elif found := _IMPORT.match(line):
            target = found[2]
            package.imports[found[1] or target.rpartition("/")[2]] = target


def _member(line: str) -> Member:
    """Read one line of a struct; an unexported or untagged field has no JSON name of its own."""
    found = _FIELD.match(line)
    if not found:
        raise BuildError(f"cannot read this line of a Go struct: {line}")
    name, text, tag = found.groups()
    label, *options = (tag or "").split(",")
    if name and not label:
        label = name
    if name and not name[0].isupper():
        label = "-"
    return Member(label, text, tuple(options))


def roots() -> dict[str, Path]:
    """Return the folders of the pinned modules, downloading them where they are not there yet.

    Raises:
        BuildError: there is no Go, or it could not download them.
    """
    go = gotoolchain.find(toolcache.cache_dir() / "go")
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("go.mod", "go.sum"):
            (Path(scratch) / name).write_bytes((toolcache.CLUSTER_MODULE / name).read_bytes())
        answer = subprocess.run(
            [go, "mod", "download", "-json", API, MACHINERY],
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )
    if answer.returncode != 0:
        raise BuildError(f"go mod download failed:\n{answer.stderr or answer.stdout}")
    decoder, text, found = json.JSONDecoder(), answer.stdout.strip(), {}
    while text:
        module, end = decoder.raw_decode(text)
        found[module["Path"]] = Path(module["Dir"])
        text = text[end:].lstrip()
    return found


def main() -> None:
    """Write the table."""
    lines = Table(Sources(roots())).lines()
    head = f"# Kubernetes {toolcache.KUBERNETES_VERSION}; written by `make types`"
    TABLE.write_text("\n".join([head, *lines, ""]))
    print(f"{TABLE}: {len(lines)} types")


if __name__ == "__main__":
    main()
