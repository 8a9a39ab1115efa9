"""What runs for one connected cluster: caches, queues, controllers, and who wakes whom.

The engine does not decide *whether* a kind is reconciled; `daemon.leadership` starts and stops
kinds. A kind that is stopped keeps its cache, since the others and ``status`` read it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from api.charts import HelmChart
from api.helm import HelmRelease
from daemon import instance_manifest, kinds, recon, report
from kube import errors, judgement
from reconcilers import instance, referenced, targets, triggers
from reconcilers.helmrelease import waking
from runtime import clock, controller, workqueue

if TYPE_CHECKING:
    from api.instance import FluxInstance
    from api.meta import ObjectRef
    from api.served import AnyKind
    from daemon.kinds import Kind
    from daemon.shared import Shared
    from kube.informer import Informer
    from kube.objects import ObjectId
    from reconcilers.context import ClusterContext
    from runtime.controller import Controller
    from runtime.supervisor import Supervisor
    from runtime.workqueue import WorkQueue

logger = logging.getLogger(__name__)

UNSERVED_S: Final = 60.0
"""Seconds until a kind that the cluster does not serve is asked for again: its CRD may come."""


JOURNAL_SIZE = 500
"""Drifts that are remembered of a cluster: a quarter of a MiB at most."""


class _Running:
    """A kind that is being reconciled."""

    __slots__ = ("controller", "queue")

    def __init__(self, queue: WorkQueue[ObjectRef], running: Controller) -> None:
        self.queue, self.controller = queue, running


class Engine:
    """The machinery of one connected cluster.

    Args:
        context: what the reconcilers use; its ``wake`` is replaced by this engine's.
        shared: the process's services.
        children: supervises the engine's parts; the cluster's own, so that it ends with it.
    """

    def __init__(self, context: ClusterContext, shared: Shared, children: Supervisor) -> None:
        self.context = context
        self.corrections: Counter[ObjectRef] = Counter()
        """Drifts of their objects that woke each owner since the cluster was connected."""
        self.journal: deque[report.Correction] = deque(maxlen=JOURNAL_SIZE)
        """The last drifts, the newest last."""
        self._shared, self._children = shared, children
        self._running: dict[str, _Running] = {}
        self._is_stopping = False
        self._settings = context.settings
        context.wake = self.wake
        context.tracker.on_drift = self._drifted
        context.references.wake = self.wake
        context.remotes.on_drift = self._drifted_elsewhere
        context.remotes.wake = self.wake

    # Life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the caches, the drift tracker and the recorder of events."""
        for kind in kinds.ALL:
            informer = self._informer(kind)
            informer.subscribe(partial(self._changed, kind))
            follow = partial(_follow, informer)
            self._children.start(self._child(f"informer of {kind.name}"), follow)
        self._children.start(self._child("tracker"), self.context.tracker.run)
        self._children.start(self._child("references"), self.context.references.run)
        self._children.start(self._child("remote clusters"), self.context.remotes.run)

    async def synced(self) -> None:
        """Wait until every cache has listed once."""
        for informer in self.context.informers:
            await informer.synced.wait()

    def is_synced(self) -> bool:
        """Tell whether every cache has listed once."""
        return all(informer.synced.is_set() for informer in self.context.informers)

    def start_kind(self, kind: Kind) -> None:
        """Begin to reconcile a kind: every object of it is looked at once."""
        if kind.name in self._running or self._is_stopping:
            return
        shared, name = self._shared, self.context.name
        queue: WorkQueue[ObjectRef] = workqueue.WorkQueue(
            shared.metrics.queue(kind.name.lower(), name)
        )
        running = controller.Controller(
            recon.build(kind, self.context),
            queue,
            cluster=name,
            concurrency=recon.concurrency(kind, self.instance(), shared.limits),
            clock=shared.clock,
            metrics=shared.metrics,
            rng=shared.rng,
        )
        self._running[kind.name] = _Running(queue, running)
        self._children.start(self._child(kind.name), running.run)
        for obj in self._informer(kind).items():
            running.wake(obj.ref(name), "start", low=True)
        logger.info("reconciling", extra={"kind": kind.name})

    async def stop_kind(self, kind: Kind) -> None:
        """Reconcile a kind no longer; what is under way is cancelled."""
        if self._running.pop(kind.name, None):
            await self._children.stop(self._child(kind.name))
            logger.info("reconciling no longer", extra={"kind": kind.name})

    def stop_intake(self) -> None:
        """Start no further run of any kind. Final."""
        self._is_stopping = True
        for each in self._running.values():
            each.controller.stop_intake()

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is under way, and cancel what is left after ``timeout_s`` seconds."""
        async with asyncio.TaskGroup() as tasks:
            for kind, each in self._running.items():
                tasks.create_task(each.controller.drain(timeout_s), name=f"drain {kind}")

    # Who wakes whom -----------------------------------------------------------------------------

    def wake(self, ref: ObjectRef, cause: str, *, low: bool = False) -> None:
        """Queue an object; nothing happens where its kind is not reconciled here."""
        found = self._running.get(ref.kind)
        if found:
            found.controller.wake(ref, cause, low=low)

    def wake_all(self, cause: str) -> None:
        """Look at every object of every kind that is reconciled here."""
        for kind in map(kinds.BY_NAME.__getitem__, self._running):
            for obj in self._informer(kind).items():
                self.wake(obj.ref(self.context.name), cause, low=True)

    def _changed(self, kind: Kind, old: AnyKind | None, new: AnyKind | None) -> None:
        """React to one event of a cache."""
        if kind is kinds.INSTANCE:
            self._lock()
        is_first_list = not self._informer(kind).synced.is_set()
        for ref, cause in self._wakes(kind, old, new):
            self.wake(ref, cause, low=is_first_list)
        gone = old if new is None else None
        if gone is not None:
            self._forget(gone.ref(self.context.name))
        elif new is not None:
            ref = new.ref(self.context.name)
            self.context.references.refer(ref, referenced.of(new))
            self._shared.metrics.suspended(ref, is_suspended=report.is_suspended(new))

    def _lock(self) -> None:
        """Let the cluster's settings be what its FluxInstance says now, and act upon a change."""
        wanted = instance.locked(self._settings, self.instance())
        if wanted != self.context.settings:
            self.context.settings = wanted
            self.wake_all("settings of the FluxInstance")

    def _wakes(self, kind: Kind, old: Any, new: Any) -> triggers.Wakes:  # noqa: ANN401 - of whichever kind
        """Return whom an event wakes."""
        name, everything = self.context.name, self.context.kustomizations.items()
        if kind is kinds.KUSTOMIZATION:
            return [
                *triggers.on_kustomization(name, old, new, everything),
                *instance.on_sync(name, old, new),
            ]
        if kind is kinds.INSTANCE:
            return instance.on_instance(name, old, new)
        releases = self.context.informer(HelmRelease).items()
        if kind is kinds.HELM_RELEASE:
            return waking.on_release(name, old, new, releases)
        wakes: triggers.Wakes = []
        if triggers.needs_reconcile(old, new):
            wakes.append((new.ref(name), str(new.ref(name))))
        if kind.controller is kinds.SOURCES:
            wakes += triggers.on_source(name, old, new, everything)
            wakes += triggers.on_chart_source(
                name, old, new, self.context.informer(HelmChart).items()
            )
            wakes += triggers.on_included(name, old, new, self.context.gitrepositories.items())
            wakes += instance.on_sync(name, old, new)
        wakes += waking.on_chart(name, kind.name, old, new, releases)
        return wakes

    def _drifted(self, owner: ObjectRef, obj: ObjectId, drift: judgement.Drift) -> None:
        """Wake the owner of an object that somebody changed; its reconciler has noted what."""
        if drift.kind is not judgement.DriftKind.MOVED:
            self.corrections[owner] += 1
        self.journal.append(
            report.Correction(
                time=clock.rfc3339(self._shared.clock.now()),
                cluster=self.context.name,
                owner=str(owner),
                object=str(obj),
                change=drift.kind,
                who=drift.who,
                fields=drift.fields,
            )
        )
        logger.debug(
            "drift",
            extra={"owner": str(owner), "object": str(obj), "drift": drift.kind, "who": drift.who},
        )
        self.wake(owner, f"drift of {obj}")

    def _drifted_elsewhere(self, owner: ObjectRef, obj: ObjectId, drift: judgement.Drift) -> None:
        """Treat drift in a remote cluster as drift in this one, whoever listens to that by now."""
        self.context.tracker.on_drift(owner, obj, drift)

    def _forget(self, ref: ObjectRef) -> None:
        """Drop what is kept about an object that is gone."""
        self._shared.metrics.forget_object(ref)
        self.corrections.pop(ref, None)
        self.context.references.drop(ref)
        if ref.kind in {kinds.KUSTOMIZATION.name, kinds.HELM_RELEASE.name}:
            targets.forget(self.context, ref)

    # What it tells ------------------------------------------------------------------------------

    def instance(self) -> FluxInstance | None:
        """Return the cluster's FluxInstance, if it has one."""
        return self.context.instances.get(instance_manifest.NAMESPACE, instance_manifest.NAME)

    def fault(self) -> str:
        """Return why a part does not do its work at present; empty where all do."""
        broken = [str(each.error) for each in self.context.informers if each.error]
        children = self._children.state()
        broken += [f"{name}: {child.error}" for name, child in children.items() if child.error]
        return next(iter(broken), "")

    def load(self, kind: Kind) -> tuple[int, int]:
        """Return how many keys of a kind wait, and how many are being reconciled."""
        found = self._running.get(kind.name)
        if not found:
            return 0, 0
        return found.queue.depth(), found.controller.active() + found.controller.waiting()

    def rows(self) -> tuple[report.Row, ...]:
        """Return a line for each object, in a fixed order."""
        found = [
            report.row(kind.name, obj, corrections=self.corrections[obj.ref(self.context.name)])
            for kind in kinds.ALL
            for obj in self._informer(kind).items()
        ]
        return tuple(sorted(found, key=lambda row: (row.kind, row.namespace, row.name)))

    def is_crowded(self) -> bool:
        """Tell whether objects wait for a turn of their reconciler."""
        return any(each.queue.depth() for each in self._running.values())

    def is_idle(self) -> bool:
        """Tell whether nothing waits and nothing runs."""
        return all(self.load(kind) == (0, 0) for kind in kinds.ALL)

    def _informer(self, kind: Kind) -> Informer[Any]:
        return self.context.informers.of(kind.type)

    def _child(self, part: str) -> str:
        return f"{self.context.name}: {part}"


async def _follow(informer: Informer[Any]) -> None:
    """Keep a cache current; a kind that the cluster does not serve is asked for now and then."""
    while True:
        try:
            await informer.run()
        except errors.NotFound:
            kind = informer.resource.gvk.kind
            logger.warning("the cluster does not serve this kind", extra={"kind": kind})
            await asyncio.sleep(UNSERVED_S)
