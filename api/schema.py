"""Writes ``api/crds/*.yaml`` from the types: ``python -m api.schema``.

A structural schema comes from each type: field names and defaults from the Struct, checks from
``api.rules``, descriptions from the docstring under each field. The descriptions are read from the
source text, so this module belongs to development; the daemon ships the files that it writes.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import inspect as shapes

from api import block_yaml, meta, rules
from api.bucket import Bucket
from api.charts import HelmChart, HelmRepository
from api.external import ExternalArtifact
from api.helm import HelmRelease
from api.instance import FluxInstance
from api.kustomize import Kustomization
from api.notification import Receiver
from api.oci import OCIRepository
from api.source import GitRepository

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema: TypeAlias = dict[str, Any]

KINDS: Final[tuple[type[meta.CustomObject], ...]] = (
    GitRepository,
    OCIRepository,
    Bucket,
    HelmRepository,
    HelmChart,
    ExternalArtifact,
    Kustomization,
    HelmRelease,
    Receiver,
    FluxInstance,
)
DIRECTORY: Final = Path(__file__).parent / "crds"

_OBJECT_FIELDS: Final[Schema] = {
    "apiVersion": {"type": "string", "description": "The version of this form of the object."},
    "kind": {"type": "string", "description": "The kind of the object."},
    "metadata": {"type": "object"},
}


def definition(kind: type[meta.CustomObject]) -> Schema:
    """Return the CustomResourceDefinition of a kind."""
    display = kind.DISPLAY
    names: Schema = {
        "categories": list(display.categories),
        "kind": kind.KIND,
        "listKind": f"{kind.KIND}List",
        "plural": kind.PLURAL,
        "shortNames": list(display.short_names),
        "singular": kind.KIND.lower(),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "annotations": {meta.SUBSTITUTE: "disabled"},
            "labels": {
                meta.COMPONENT_LABEL: display.component,
                meta.INSTANCE_LABEL: meta.NAMESPACE,
                meta.PART_OF: "flux",
                meta.VERSION_LABEL: meta.FLUX_VERSION,
            },
            "name": f"{kind.PLURAL}.{kind.GROUP}",
        },
        "spec": {
            "group": kind.GROUP,
            "names": {key: value for key, value in names.items() if value},
            "scope": "Namespaced",
            "versions": [_version(kind)],
        },
    }


def _version(kind: type[meta.CustomObject]) -> Schema:
    schema = _struct(kind)
    schema["properties"] = {
        **_OBJECT_FIELDS,
        "spec": schema["properties"]["spec"],
        "status": schema["properties"]["status"],
    }
    return {
        "additionalPrinterColumns": [
            {"jsonPath": column.json_path, "name": column.name, "type": column.type}
            for column in kind.DISPLAY.columns
        ],
        "name": kind.VERSION,
        "schema": {"openAPIV3Schema": schema},
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
    }


def _struct(cls: type[msgspec.Struct]) -> Schema:
    """Return the schema of a Struct: its fields, the required ones, and its CEL rules."""
    texts = descriptions(cls)
    info = shapes.type_info(cls)
    assert isinstance(info, shapes.StructType)  # noqa: S101 - narrows for the type checker
    properties = {
        field.encode_name: _field(field, texts.get(field.name, "")) for field in info.fields
    }
    schema: Schema = {
        "description": _sentence(inspect.getdoc(cls) or ""),
        "properties": properties,
        "type": "object",
    }
    if required := [field.encode_name for field in info.fields if field.required]:
        schema["required"] = required
    if found := _rules(cls):
        schema["x-kubernetes-validations"] = [
            {"message": rule.message, "rule": rule.rule} for rule in found
        ]
    return schema


def _rules(cls: type[msgspec.Struct]) -> tuple[rules.Rule, ...]:
    found: tuple[rules.Rule, ...] = getattr(cls, "RULES", ())
    return found


def _field(field: shapes.Field, text: str) -> Schema:
    """Return the schema of one field, with its description and, where it says more, its default."""
    schema = _type(field.type)
    if text:
        schema["description"] = text
    if default := _default(field):
        schema["default"] = default
    return schema


def _default(field: shapes.Field) -> Any:  # noqa: ANN401 - any JSON
    """Return the default of a field where it says more than that an absent field is empty."""
    if field.default is msgspec.NODEFAULT or not field.default:
        return None
    return msgspec.to_builtins(field.default)


def _type(shape: shapes.Type) -> Schema:
    """Return the structural schema of one type."""
    match shape:
        case shapes.Metadata(type=inner, extra_json_schema=extra):
            return {**_type(inner), **(extra or {})}
        case shapes.UnionType(types=types):
            (inner,) = [each for each in types if not isinstance(each, shapes.NoneType)]
            return _type(inner)
        case shapes.RawType():
            return {"x-kubernetes-preserve-unknown-fields": True}
        case shapes.StructType(cls=cls):
            return _struct(cls)
        case shapes.VarTupleType(item_type=item):
            return {"items": _type(item), "type": "array"}
        case shapes.DictType(value_type=value):
            return {"additionalProperties": _type(value), "type": "object"}
        case shapes.StrType():
            return {"type": "string"}
        case shapes.BoolType():
            return {"type": "boolean"}
        case shapes.IntType():
            return {"format": "int64", "type": "integer"}
        case _:
            raise TypeError(f"no structural schema for {shape}")


@functools.cache
def descriptions(cls: type) -> Mapping[str, str]:
    """Return the docstring under each field of a class, with its line breaks folded.

    Args:
        cls: a class whose source can be read; fields of its bases are not looked at.
    """
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(node, ast.ClassDef)  # noqa: S101 - narrows for the type checker
    texts: dict[str, str] = {}
    for statement, follower in zip(node.body, node.body[1:], strict=False):
        match statement, follower:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = _sentence(text)
            case _:
                pass
    return texts


def _sentence(text: str) -> str:
    """Fold a docstring into one line, without the marks of reStructuredText literals."""
    return " ".join(text.replace("``", "'").split())


def files() -> dict[str, str]:
    """Return the text of every file in ``api/crds``, by name."""
    head = "# Written by `make crds` from the types in api/; do not edit.\n---\n"
    return {
        f"{kind.GROUP}_{kind.PLURAL}.yaml": head + block_yaml.dump(definition(kind))
        for kind in KINDS
    }


def main() -> int:
    """Write the files and remove those of kinds that are gone."""
    texts = files()
    for stale in {path.name for path in DIRECTORY.glob("*.yaml")} - texts.keys():
        (DIRECTORY / stale).unlink()
    for name, text in texts.items():
        (DIRECTORY / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
