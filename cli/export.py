"""``gitopsd export``: Flux objects as YAML to be applied again, in the manner of ``flux export``.

What the API server and the reconcilers add is left out: the status, the fields of the server, the
request of the last reconcile, and kubectl's own copy of the object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta
from cli import access, get, options
from inspection import failure, kinds, survey
from kube import manifests

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from daemon.kinds import Kind
    from inspection.flux import FluxObject
    from inspection.survey import Survey
    from kube.client import Client

_KEPT: Final = ("name", "namespace", "labels", "annotations")
_DROPPED: Final = frozenset(
    {meta.REQUESTED_AT, meta.VERIFY, "kubectl.kubernetes.io/last-applied-configuration"}
)
"""Annotations that say nothing about what is wanted."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "what", nargs="+", metavar="KIND [NAME...]", help=f"all | sources | {kinds.USAGE}"
    )
    parser.add_argument("--all", action="store_true", help="every object of the kind")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the objects."""
    wanted, names = get.chosen(args.what)
    is_one_kind = len(wanted) == 1
    if is_one_kind and not names and not args.all:
        raise failure.UsageError("name objects, or give --all for every one of the kind")
    if names and args.all:
        raise failure.UsageError("name objects or give --all, not both")
    cluster = access.the_one(args)
    namespace = "" if args.all_namespaces else args.namespace

    async def main() -> Survey:
        async with access.client(cluster) as client:
            return await _read(client, wanted, namespace)

    with access.explained(cluster):
        seen = access.run(main())
    found = [each for each in seen.objects.values() if not names or each.name in names]
    _check(names, found, namespace)
    for each in found:
        print(f"---\n{text(each)}", end="")
    return 0


async def _read(client: Client, wanted: Sequence[Kind], namespace: str) -> Survey:
    seen = await survey.take(client, wanted, namespace)
    if seen.unread:
        raise failure.CommandError(
            "\n".join(f"{kind}: {reason}" for kind, reason in seen.unread.items())
        )
    return seen


def _check(names: Iterable[str], found: Iterable[FluxObject], namespace: str) -> None:
    """Fail where something that was asked for is not there.

    Raises:
        failure.CommandError: the message names it.
    """
    there = {each.name for each in found}
    missing = sorted(set(names) - there)
    if there and not missing:
        return
    where = f"namespace {namespace}" if namespace else "any namespace"
    what = ", ".join(missing) or "no such object"
    raise failure.CommandError(f"not in {where}: {what}")


def text(obj: FluxObject) -> str:
    """Return an object as YAML, without what the server and the reconcilers added."""
    metadata = {key: value for key, value in obj.metadata.items() if key in _KEPT}
    metadata["annotations"] = {
        key: value for key, value in obj.annotations.items() if key not in _DROPPED
    }
    wanted = {
        "apiVersion": obj.gvk.api_version,
        "kind": obj.kind,
        "metadata": {key: metadata[key] for key in _KEPT if metadata.get(key)},
        "spec": obj.spec,
    }
    return manifests.dump(wanted).decode()
