"""Builds what the reconcilers of one cluster use, out of its client and the process's services."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from daemon import kinds
from kube import ownership
from kube.apply import Applier
from kube.discovery import Discovery
from kube.informer import Informer
from kube.informers import Informers
from kube.recorder import Recorder
from kube.references import References
from kube.remotes import Remotes, Services
from kube.tracker import Tracker
from notify.dispatcher import Dispatcher
from reconcilers.context import ClusterContext, ReconcileSettings
from runtime.events import EventBus
from sources import untar
from sources.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.meta import ObjectRef
    from daemon import settings
    from daemon.kinds import Kind
    from daemon.shared import Shared
    from kube.client import Client


def build(cluster: settings.Cluster, shared: Shared, client: Client) -> ClusterContext:
    """Build a cluster's context; nothing runs yet. Its folder must be there.

    Its ``wake`` does nothing until the engine puts its own in.
    """
    discovery = Discovery(client, shared.clock)
    folder = shared.cluster_dir(cluster.name)
    identities = ownership.overriding(cluster.override_managers)
    tracker = Tracker(
        client,
        discovery,
        clock=shared.clock,
        metrics=shared.metrics,
        threads=shared.threads,
        file=folder / "baseline",
        rng=shared.rng,
        identities=identities,
    )

    def informer(kind: Kind) -> Informer[Any]:
        return Informer(
            client,
            kind.resource,
            kind.type,
            namespace=cluster.namespace,
            clock=shared.clock,
            rng=shared.rng,
        )

    return ClusterContext(
        name=cluster.name,
        client=client,
        discovery=discovery,
        tracker=tracker,
        references=References(
            client,
            clock=shared.clock,
            rng=shared.rng,
            metrics=shared.metrics,
            is_labelled_only=not cluster.watch_unlabelled,
        ),
        applier=Applier(client, discovery, tracker, shared.clock),
        remotes=Remotes(
            Services(
                shared.clock,
                shared.rng,
                shared.metrics,
                shared.threads,
                folder / "remotes",
                shared.limits.requests,
                identities,
            )
        ),
        events=EventBus(shared.metrics.events_dropped.inc),
        clock=shared.clock,
        metrics=shared.metrics,
        storage=Storage(
            shared.artifacts_dir(cluster.name),
            f"{shared.artifacts_url.rstrip('/')}/{cluster.name}",
            shared.clock,
            limit_bytes=shared.git.limits.bytes,
        ),
        git=shared.git,
        oci=shared.oci,
        charts=shared.charts,
        threads=shared.threads,
        processes=shared.processes,
        tools=shared.tools,
        data_dir=folder,
        informers=Informers(map(informer, kinds.ALL)),
        wake=_nobody,
        settings=_reconcile_settings(cluster, shared),
        github_app=shared.github_app,
        machine=shared.machine if cluster.ambient_cloud_identity else None,
        contexts=shared.git.contexts,
        age_key=shared.age_key,
    )


def _reconcile_settings(cluster: settings.Cluster, shared: Shared) -> ReconcileSettings:
    return ReconcileSettings(
        no_cross_namespace_refs=cluster.no_cross_namespace_refs,
        allow_remote_bases=not cluster.no_remote_bases,
        allow_external_artifacts=cluster.external_artifacts,
        strict_substitution=cluster.strict_substitution,
        custom_stages=frozenset(cluster.custom_apply_stage_kinds),
        default_service_account=cluster.default_service_account,
        allow_kubeconfig_exec=cluster.insecure_kubeconfig_exec,
        allow_kubeconfig_insecure_tls=cluster.insecure_kubeconfig_tls,
        concurrency=shared.limits.kustomizations,
        artifact_limits=untar.Limits(
            size_bytes=shared.limits.artifact_megabytes * 2**20, files=shared.limits.artifact_files
        ),
    )


def _nobody(ref: ObjectRef, cause: str) -> None:
    """Stand in for the queues until there are any."""
    del ref, cause


async def record(context: ClusterContext, is_crowded: Callable[[], bool]) -> None:
    """Write the cluster's events into the cluster, until cancelled.

    Args:
        context: the cluster.
        is_crowded: whether objects wait for their turn; events give way to them.
    """
    carrier = Dispatcher(context.events, context.clock, on_drop=context.metrics.events_dropped.inc)
    recorder = Recorder(
        context.client,
        instance=socket.gethostname(),
        is_crowded=is_crowded,
        clock=context.clock,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(carrier.feed(recorder), name=f"{context.name}: recorder")
        group.create_task(carrier.run(), name=f"{context.name}: dispatcher")
