"""``gitopsd reconcile``: ask for a reconcile and wait for its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import durations, meta
from api.kustomize import Kustomization
from cli import access, options
from daemon import kinds as served
from daemon import report
from inspection import failure, kinds, objects, waiting
from kube import errors
from runtime import clock

if TYPE_CHECKING:
    import argparse

    from api.served import AnyKind
    from daemon.kinds import Kind
    from kube.client import Client


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND NAME", help=kinds.USAGE)
    parser.add_argument("--with-source", action="store_true", help="reconcile the source first")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare every object of a Kustomization by a dry run, whatever the watches told",
    )
    parser.add_argument("--timeout", default="5m", help="how long to wait; default 5m")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Reconcile one object; fails with its message when the reconcile fails."""
    kind, names = kinds.parse(args.what)
    if len(names) != 1:
        raise failure.UsageError("name one object")
    if args.with_source and kind is not served.KUSTOMIZATION:
        raise failure.UsageError("--with-source is for Kustomizations")
    if args.verify and kind is not served.KUSTOMIZATION:
        raise failure.UsageError("--verify is for Kustomizations")
    try:
        timeout_s = durations.parse(args.timeout)
    except ValueError as err:
        raise failure.UsageError(f"--timeout: {err}") from err
    cluster = access.the_one(args)

    async def main() -> None:
        async with access.client(cluster) as client:
            obj = await _existing(client, kind, args.namespace, names[0])
            if isinstance(obj, Kustomization) and args.with_source:
                await _reconcile_source(client, obj, timeout_s)
            await _reconcile(client, kind, obj, timeout_s, is_verification=args.verify)

    with access.explained(cluster):
        access.run(main())
    return 0


async def _existing(client: Client, kind: Kind, namespace: str, name: str) -> AnyKind:
    """Return an object that may be reconciled.

    Raises:
        failure.CommandError: there is none, or it is suspended.
    """
    try:
        obj = await objects.get(client, kind, namespace, name)
    except errors.NotFound as err:
        raise failure.CommandError(f"{kind.name}/{namespace}/{name} is not there") from err
    if report.row(kind.name, obj).is_suspended:
        raise failure.CommandError(f"{kind.name}/{namespace}/{name} is suspended; resume it first")
    return obj


async def _reconcile_source(client: Client, obj: Kustomization, timeout_s: float) -> None:
    """Reconcile the source of a Kustomization."""
    source = obj.spec.source_ref
    kind = served.BY_NAME.get(source.kind)
    if kind is None:
        raise failure.CommandError(f"sources of kind {source.kind} are not served yet")
    namespace = source.namespace or obj.metadata.namespace
    found = await _existing(client, kind, namespace, source.name)
    await _reconcile(client, kind, found, timeout_s)


async def _reconcile(
    client: Client, kind: Kind, obj: AnyKind, timeout_s: float, *, is_verification: bool = False
) -> None:
    """Annotate one object, wait, and print the result."""
    where = f"{kind.name} {obj.metadata.name} in {obj.metadata.namespace} namespace"
    print(f"► annotating {where}")
    token = clock.SystemClock().now().isoformat(timespec="microseconds")
    annotations = {meta.REQUESTED_AT: token} | ({meta.VERIFY: token} if is_verification else {})
    body = {"metadata": {"annotations": annotations}}
    asked = await objects.patch(client, kind, obj.metadata.namespace, obj.metadata.name, body)
    print(f"◎ waiting for {kind.name} reconciliation")
    done = await waiting.until(
        client, kind, asked, lambda each: waiting.handled(each, token), timeout_s
    )
    row = report.row(kind.name, done)
    what = f"revision {report.short_revision(row.revision)}" if row.revision else row.message
    print(f"✔ {'fetched' if kind is served.GIT_REPOSITORY else 'applied'} {what}")
