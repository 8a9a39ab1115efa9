"""The further parts of ``gitopsd debug``: status, history and variables of an object."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cli import table
from daemon import report
from inspection import masking
from kube import errors, manifests
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    import argparse

    from kube.client import Client
    from kube.objects import JsonObject

_CONFIG_MAPS = Resource(GVK("", "v1", "ConfigMap"), "configmaps", is_namespaced=True)
_SECRETS = Resource(GVK("", "v1", "Secret"), "secrets", is_namespaced=True)


def parts(body: JsonObject, args: argparse.Namespace, variables: str) -> str:
    """Return the parts that were asked for; nothing where none was."""
    status = body.get("status") or {}
    found = []
    if args.show_status:
        found.append(manifests.dump({"status": masking.tree(status)}).decode())
    if args.show_history:
        found.append(f"{_history(status)}\n")
    if args.show_vars:
        found.append(variables)
    return "\n".join(found)


def _history(status: JsonObject) -> str:
    rows = [
        (
            report.short_revision(
                str((each.get("metadata") or {}).get("revision") or each.get("chartVersion") or "")
            ),
            str(each.get("lastReconciledStatus") or each.get("status") or ""),
            str(each.get("firstReconciled") or each.get("firstDeployed") or ""),
            str(each.get("lastReconciled") or each.get("lastDeployed") or ""),
            str(each.get("totalReconciliations") or ""),
        )
        for each in status.get("history") or ()
    ]
    return table.render(("REVISION", "OUTCOME", "FIRST", "LAST", "TIMES"), rows)


async def variables(client: Client, body: JsonObject, args: argparse.Namespace) -> str:
    """Return the variables of a Kustomization as YAML, those of Secrets masked unless asked for."""
    spec = (body.get("spec") or {}).get("postBuild") or {}
    namespace = str(body["metadata"].get("namespace") or "")
    values: dict[str, str] = {}
    for reference in spec.get("substituteFrom") or ():
        is_secret = reference.get("kind") == "Secret"
        resource = _SECRETS if is_secret else _CONFIG_MAPS
        try:
            found = await client.get(resource, namespace, reference["name"])
        except errors.NotFound:
            if not reference.get("optional"):
                values[f"# {reference['kind']}/{reference['name']}"] = "is not there"
            continue
        for key, value in (found.get("data") or {}).items():
            shown = base64.b64decode(value).decode(errors="replace") if is_secret else value
            values[key] = masking.MASK if is_secret and not args.show_secrets else shown
    values |= {key: str(value) for key, value in (spec.get("substitute") or {}).items()}
    return manifests.dump(values).decode() if values else "# no variables\n"
