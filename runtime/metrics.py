"""Every metric of the process, in one object with a registry of its own.

Names follow controller-runtime, client-go and Flux wherever they have one, so that existing
dashboards and alerts work; ours begin with ``gitopsd_``. All but those of the process carry the
label ``cluster``. What can be asked for is not counted: depths and running times are read from
their owners at each scrape.

Memory: a counter's child takes 0.7 kB and a histogram's 5 kB. Histograms are per controller, except
``gotk_reconcile_duration_seconds``, which is per object, has five buckets and a bounded number of
children (`OBJECT_LIMIT`); past it the object that was reconciled longest ago makes room.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

import api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api.meta import ObjectRef
    from runtime.workqueue import WorkQueue

OBJECT_LIMIT = 500
"""Objects that have a duration histogram at the same time; about 2.5 MiB."""

_OBJECT = ["kind", "name", "namespace", "cluster"]
_CONTROLLER = ["controller", "cluster"]
_QUEUE = ["name", "controller", "cluster"]
_DURATION_BUCKETS = (0.05, 0.25, 1.0, 5.0, 30.0)
_QUEUE_BUCKETS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
_RESULTS = ("success", "requeue", "requeue_after", "error")


class QueueMetrics:
    """What one work queue counts; a `runtime.workqueue.QueueObserver`."""

    def __init__(self, metrics: Metrics, name: str, cluster: str) -> None:
        labels = (name, name, cluster)
        self.added = metrics.queue_adds.labels(*labels).inc
        self.started = metrics.queue_wait.labels(*labels).observe
        self.finished = metrics.queue_work.labels(*labels).observe


class ControllerMetrics:
    """What one controller counts, with its label sets present from the start."""

    def __init__(self, metrics: Metrics, name: str, cluster: str) -> None:
        labels = (name, cluster)
        self.results = {
            result: metrics.reconciles.labels(name, result, cluster) for result in _RESULTS
        }
        self.errors = metrics.reconcile_errors.labels(*labels)
        self.terminal_errors = metrics.terminal_errors.labels(*labels)
        self.panics = metrics.panics.labels(*labels)
        self.seconds = metrics.reconcile_seconds.labels(*labels)
        self.retries = metrics.queue_retries.labels(name, name, cluster)


class Metrics:
    """The process's metrics; make one and hand it down."""

    def __init__(self) -> None:
        # Has no annotations:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.PlatformCollector(registry=self.registry)
        self._objects: OrderedDict[ObjectRef, Histogram] = OrderedDict()
        self._define_controllers()
        self._define_queues()
        self._define_objects()
        self._define_clusters()
        self._define_process()

    def render(self) -> bytes:
        """Return everything in the text format. Takes milliseconds: call it in a thread."""
        return prometheus_client.generate_latest(self.registry)

    # Controllers and queues ---------------------------------------------------------------------

    def queue(self, name: str, cluster: str) -> QueueMetrics:
        """Return the observer for the queue of the controller ``name`` of ``cluster``."""
        return QueueMetrics(self, name, cluster)

    def watch_queue(self, name: str, cluster: str, queue: WorkQueue[ObjectRef]) -> None:
        """Read the depth and the running times of a queue at each scrape."""
        labels = (name, name, cluster)
        self.queue_depth.labels(*labels).set_function(queue.depth)
        self.queue_unfinished.labels(*labels).set_function(queue.unfinished_s)
        self.queue_longest.labels(*labels).set_function(queue.longest_running_s)

    def watch_workers(
        self, name: str, cluster: str, active: Callable[[], float], allowed: int
    ) -> None:
        """Read the number of workers in use at each scrape; ``allowed`` is their limit."""
        self.active_workers.labels(name, cluster).set_function(active)
        self.max_workers.labels(name, cluster).set(allowed)

    def controller(self, name: str, cluster: str) -> ControllerMetrics:
        """Return what the controller ``name`` of ``cluster`` counts."""
        return ControllerMetrics(self, name, cluster)

    # Objects ------------------------------------------------------------------------------------

    def observe_reconcile(self, ref: ObjectRef, seconds: float) -> None:
        """Record how long one reconcile of one object took."""
        child = self._objects.get(ref)
        if child is None:
            if len(self._objects) >= OBJECT_LIMIT:
                self._drop_duration(next(iter(self._objects)))
            child = self._objects[ref] = self.object_seconds.labels(*_labels(ref))
        else:
            self._objects.move_to_end(ref)
        child.observe(seconds)

    def suspended(self, ref: ObjectRef, *, is_suspended: bool) -> None:
        """Record whether an object is suspended."""
        self.suspend_status.labels(*_labels(ref)).set(is_suspended)

    def forget_object(self, ref: ObjectRef) -> None:
        """Drop what is kept about an object that is gone."""
        self.suspend_status.remove(*_labels(ref))
        if ref in self._objects:
            self._drop_duration(ref)

    def forget_cluster(self, cluster: str) -> None:
        """Drop everything that carries the label of a cluster that is no longer configured."""
        for ref in [ref for ref in self._objects if ref.cluster == cluster]:
            del self._objects[ref]
        for metric in self._per_cluster():
            metric.remove_by_labels({"cluster": cluster})

    # Sources and child processes -----------------------------------------------------------------

    @contextmanager
    def fetch(self, kind: str) -> Iterator[None]:
        """Count one fetch of a source and its seconds; one that raises counts as failed."""
        started = time.perf_counter()
        result = "failed"
        try:
            yield
            result = "succeeded"
        finally:
            self.fetches.labels(kind, result).inc()
            self.fetch_seconds.labels(kind).inc(time.perf_counter() - started)

    @contextmanager
    def child_process(self, program: str) -> Iterator[None]:
        """Count one run of a program and its seconds; a run that raises counts as failed."""
        started = time.perf_counter()
        result = "failed"
        try:
            yield
            result = "ended"
        finally:
            self.child_processes.labels(program, result).inc()
            self.child_process_seconds.labels(program).inc(time.perf_counter() - started)

    # Definitions --------------------------------------------------------------------------------

    def _counter(self, name: str, text: str, labels: list[str] | tuple[str, ...] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: list[str] | tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def _define_controllers(self) -> None:
        prefix = "controller_runtime"
        self.reconciles = self._counter(
            f"{prefix}_reconcile_total",
            "Reconciles by result.",
            ["controller", "result", "cluster"],
        )
        self.reconcile_errors = self._counter(
            f"{prefix}_reconcile_errors_total", "Reconciles that failed.", _CONTROLLER
        )
        self.terminal_errors = self._counter(
            f"{prefix}_terminal_reconcile_errors_total",
            "Reconciles that failed until somebody changes something.",
            _CONTROLLER,
        )
        self.panics = self._counter(
            f"{prefix}_reconcile_panics_total", "Reconciles that met a bug.", _CONTROLLER
        )
        self.active_workers = self._gauge(
            f"{prefix}_active_workers", "Workers in use.", _CONTROLLER
        )
        self.max_workers = self._gauge(
            f"{prefix}_max_concurrent_reconciles", "Workers allowed.", _CONTROLLER
        )
        self.reconcile_seconds = self._histogram(
            f"{prefix}_reconcile_time_seconds",
            "Seconds per reconcile.",
            _CONTROLLER,
            _DURATION_BUCKETS,
        )

    def _define_queues(self) -> None:
        self.queue_depth = self._gauge("workqueue_depth", "Keys that are ready.", _QUEUE)
        self.queue_adds = self._counter("workqueue_adds_total", "Keys that became ready.", _QUEUE)
        self.queue_retries = self._counter(
            "workqueue_retries_total", "Keys that were delayed after a failure.", _QUEUE
        )
        self.queue_wait = self._histogram(
            "workqueue_queue_duration_seconds",
            "Seconds that a key was ready before it was handed out.",
            _QUEUE,
            _QUEUE_BUCKETS,
        )
        self.queue_work = self._histogram(
            "workqueue_work_duration_seconds",
            "Seconds that processing a key took, waits for health included.",
            _QUEUE,
            _QUEUE_BUCKETS,
        )
        self.queue_unfinished = self._gauge(
            "workqueue_unfinished_work_seconds", "Seconds of what is being processed.", _QUEUE
        )
        self.queue_longest = self._gauge(
            "workqueue_longest_running_processor_seconds",
            "Seconds of the longest processing that runs.",
            _QUEUE,
        )

    def _define_objects(self) -> None:
        self.object_seconds = self._histogram(
            "gotk_reconcile_duration_seconds",
            "Seconds per reconcile of an object.",
            _OBJECT,
            _DURATION_BUCKETS,
        )
        self.suspend_status = self._gauge(
            "gotk_suspend_status", "1 for an object that is suspended.", _OBJECT
        )

    def _define_clusters(self) -> None:
        self.cluster_up = self._gauge(
            "gitopsd_cluster_up", "1 for a cluster that answers.", ["cluster"]
        )
        self.rest_client_requests = self._counter(
            "rest_client_requests_total",
            "Requests to an API server.",
            ["code", "method", "host", "cluster"],
        )
        self.apply_requests = self._counter(
            "gitopsd_apply_requests_total",
            "Requests for managed objects: get, dry_run, apply, create, patch, delete.",
            ["operation", "cluster"],
        )
        self.drift_corrections = self._counter(
            "gitopsd_drift_corrections_total",
            "Managed objects put back by what was found: edited, deleted, unlabelled.",
            ["drift", "cluster"],
        )
        self.builds = self._counter(
            "gitopsd_builds_total",
            "Builds of a Kustomization by way: plain, kustomize, reused.",
            ["way", "cluster"],
        )
        self.watches = self._gauge("gitopsd_watches", "Watches that are open.", ["cluster"])
        self.watch_events = self._counter(
            "gitopsd_watch_events_total",
            "Events received from watches of managed objects: added, modified, deleted.",
            ["type", "cluster"],
        )
        self.watch_restarts = self._counter(
            "gitopsd_watch_restarts_total",
            "Watches of managed objects that began anew by reason: expired, lost.",
            ["reason", "cluster"],
        )
        self.tracked_objects = self._gauge(
            "gitopsd_tracked_objects", "Managed objects that are watched for drift.", ["cluster"]
        )

    def _define_process(self) -> None:
        build_info = self._gauge("gitopsd_build_info", "Always 1.", ["version"])
        build_info.labels(api.__version__).set(1)
        self.child_restarts = self._counter(
            "gitopsd_supervised_restarts_total", "Restarts of a part of the daemon.", ["child"]
        )
        self.child_processes = self._counter(
            "gitopsd_child_processes_total", "Child processes.", ["program", "result"]
        )
        self.child_process_seconds = self._counter(
            "gitopsd_child_process_seconds_total", "Seconds child processes ran.", ["program"]
        )
        self._gauge(
            "gitopsd_child_peak_memory_bytes",
            "Resident memory of the largest child process so far.",
        ).set_function(lambda: _max_rss(resource.RUSAGE_CHILDREN))
        self._gauge(
            "gitopsd_peak_memory_bytes", "Highest resident memory of the daemon so far."
        ).set_function(lambda: _max_rss(resource.RUSAGE_SELF))
        self.events_dropped = self._counter(
            "gitopsd_events_dropped_total", "Events that a slow subscriber lost."
        )
        self.webhooks = self._counter(
            "gitopsd_webhooks_total", "Webhook deliveries.", ["receiver", "code"]
        )
        self.fetches = self._counter(
            "gitopsd_fetches_total", "Fetches of a source by result.", ["kind", "result"]
        )
        self.fetch_seconds = self._counter(
            "gitopsd_fetch_seconds_total", "Seconds that fetches of sources took.", ["kind"]
        )

    def _drop_duration(self, ref: ObjectRef) -> None:
        del self._objects[ref]
        self.object_seconds.remove(*_labels(ref))

    def _per_cluster(self) -> list[Counter | Gauge | Histogram]:
        return [
            metric
            for metric in vars(self).values()
            if isinstance(metric, (Counter, Gauge, Histogram)) and "cluster" in metric._labelnames  # noqa: SLF001 - no public name
        ]


def _labels(ref: ObjectRef) -> tuple[str, str, str, str]:
    return (ref.kind, ref.name, ref.namespace, ref.cluster)


def _max_rss(who: int) -> float:
    """Return peak resident bytes; the kernel counts in KiB on Linux and in bytes on macOS."""
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
