"""``gitopsd reconcile``: ask for a reconcile and wait for its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.charts import HelmRepository
from cli import access, options
from daemon import kinds as served
from daemon import report
from inspection import failure, flux, kinds, objects, requests, waiting
from kube import errors

if TYPE_CHECKING:
    import argparse

    from api.served import AnyKind
    from daemon.kinds import Kind
    from kube.client import Client

_APPLIERS = frozenset({"Kustomization", "HelmRelease"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND NAME", help=kinds.USAGE)
    parser.add_argument("--with-source", action="store_true", help="reconcile the source first")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare every object of a Kustomization by a dry run, whatever the watches told",
    )
    parser.add_argument(
        "--force", action="store_true", help="of a HelmRelease: install or upgrade in any case"
    )
    parser.add_argument(
        "--reset", action="store_true", help="of a HelmRelease: forget its failures"
    )
    parser.add_argument("--timeout", default="5m", help="how long to wait; default 5m")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Reconcile one object; fails with its message when the reconcile fails."""
    kind, names = kinds.parse(args.what)
    if len(names) != 1:
        raise failure.UsageError("name one object")
    _check_kind(kind)
    _check_options(args, kind)
    timeout_s = options.seconds(args.timeout)
    cluster = access.the_one(args)

    async def main() -> None:
        async with access.client(cluster) as client:
            obj = await _existing(client, kind, args.namespace, names[0])
            if args.with_source:
                await _reconcile_source(client, kind, obj, timeout_s)
            await _reconcile(
                client,
                kind,
                obj,
                timeout_s,
                verify=args.verify,
                force=args.force,
                reset=args.reset,
            )

    with access.explained(cluster):
        access.run(main(), "waiting for the reconcile")
    return 0


def _check_kind(kind: Kind) -> None:
    """Refuse a kind that nobody here reconciles.

    Raises:
        failure.UsageError: it is one.
    """
    if not kind.is_reconciled:
        raise failure.UsageError(
            f"{kind.name} objects are kept by whoever makes the artifacts; reconcile the object "
            "that spec.sourceRef names"
        )


def _check_options(args: argparse.Namespace, kind: Kind) -> None:
    """Refuse options that mean nothing for a kind.

    Raises:
        failure.UsageError: one is given all the same.
    """
    if args.with_source and kind.name not in _APPLIERS:
        raise failure.UsageError("--with-source is for Kustomizations and HelmReleases")
    if args.verify and kind is not served.KUSTOMIZATION:
        raise failure.UsageError("--verify is for Kustomizations")
    for option in ("force", "reset"):
        if getattr(args, option) and kind.name != "HelmRelease":
            raise failure.UsageError(f"--{option} is for HelmReleases")


async def _existing(client: Client, kind: Kind, namespace: str, name: str) -> AnyKind:
    """Return an object that may be reconciled.

    Raises:
        failure.CommandError: there is none, or it is suspended.
    """
    try:
        obj = await objects.get(client, kind, namespace, name)
    except errors.NotFound as err:
        raise failure.MissingError(f"{kind.name}/{namespace}/{name} is not there") from err
    if report.row(kind.name, obj).is_suspended:
        raise failure.CommandError(f"{kind.name}/{namespace}/{name} is suspended; resume it first")
    if isinstance(obj, HelmRepository) and obj.is_static:
        raise failure.CommandError(
            f"{kind.name}/{namespace}/{name} is of type oci, which is not reconciled; reconcile "
            "a HelmChart that names it"
        )
    return obj


async def _reconcile_source(client: Client, kind: Kind, obj: AnyKind, timeout_s: float) -> None:
    """Reconcile the source of an applier."""
    body = await client.get(kind.resource, obj.metadata.namespace, obj.metadata.name)
    head = {"apiVersion": kind.gvk.api_version, "kind": kind.name}
    source = flux.FluxObject(client.cluster, head | body).source
    if source is None:
        raise failure.CommandError(f"{kind.name} {obj.metadata.name} names no source")
    found = served.BY_NAME.get(source.kind)
    if found is None:
        raise failure.CommandError(f"sources of kind {source.kind} are not served yet")
    _check_kind(found)
    existing = await _existing(client, found, source.namespace, source.name)
    await _reconcile(client, found, existing, timeout_s)


async def _reconcile(
    client: Client,
    kind: Kind,
    obj: AnyKind,
    timeout_s: float,
    *,
    verify: bool = False,
    force: bool = False,
    reset: bool = False,
) -> None:
    """Annotate one object, wait, and print the result."""
    namespace, name = obj.metadata.namespace, obj.metadata.name
    print(f"► annotating {kind.name} {name} in {namespace} namespace")
    token = requests.token()
    await requests.reconcile(
        client,
        kind.resource,
        namespace,
        name,
        request=token,
        force=force,
        reset=reset,
        verify=verify,
    )
    print(f"◎ waiting for {kind.name} reconciliation")
    done = await waiting.until(
        client, kind, obj, lambda each: waiting.handled(each, token), timeout_s
    )
    row = report.row(kind.name, done)
    what = f"revision {report.short_revision(row.revision)}" if row.revision else row.message
    print(f"✔ {'fetched' if kind in kinds.sources() else 'applied'} {what}")
