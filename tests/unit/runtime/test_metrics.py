"""Metrics: the names that dashboards know, and memory that stays bounded."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING

import pytest

import api
from api.meta import ObjectRef
from runtime import metrics as metrics_module
from runtime.workqueue import WorkQueue

if TYPE_CHECKING:
    from runtime.metrics import Metrics


def ref(name: str, cluster: str = "home") -> ObjectRef:
    return ObjectRef(cluster, "Kustomization", "flux-system", name)


def objects(metrics: Metrics, cluster: str = "home") -> list[str]:
    pattern = rf'gotk_reconcile_duration_seconds_count{{cluster="{cluster}",.*name="([^"]+)"'
    return re.findall(pattern, metrics.render().decode())


@pytest.mark.parametrize(
    "name",
    [
        "gotk_reconcile_duration_seconds",
        "gotk_suspend_status",
        "controller_runtime_reconcile_total",
        "controller_runtime_reconcile_errors_total",
        "controller_runtime_terminal_reconcile_errors_total",
        "controller_runtime_reconcile_panics_total",
        "controller_runtime_active_workers",
        "controller_runtime_max_concurrent_reconciles",
        "controller_runtime_reconcile_time_seconds",
        "workqueue_depth",
        "workqueue_adds_total",
        "workqueue_retries_total",
        "workqueue_queue_duration_seconds",
        "workqueue_work_duration_seconds",
        "workqueue_unfinished_work_seconds",
        "workqueue_longest_running_processor_seconds",
        "rest_client_requests_total",
    ],
)
def test_names_are_those_that_dashboards_know(metrics: Metrics, name: str) -> None:
    assert f"# TYPE {name} " in metrics.render().decode()


def test_results_of_a_controller_start_at_zero(metrics: Metrics) -> None:
    metrics.controller("kustomization", "home")
    for result in ("success", "requeue", "requeue_after", "error"):
        labels = {"controller": "kustomization", "result": result, "cluster": "home"}
        assert metrics.registry.get_sample_value("controller_runtime_reconcile_total", labels) == 0


async def test_queue_is_measured(metrics: Metrics) -> None:
    queue: WorkQueue[ObjectRef] = WorkQueue(metrics.queue("kustomization", "home"))
    metrics.watch_queue("kustomization", "home", queue)
    queue.add(ref("a"))
    queue.add(ref("b"))
    queue.done(await queue.get())
    text = (await asyncio.to_thread(metrics.render)).decode()
    labels = '{cluster="home",controller="kustomization",name="kustomization"}'
    for sample in (
        f"workqueue_depth{labels} 1.0",
        f"workqueue_adds_total{labels} 2.0",
        f"workqueue_queue_duration_seconds_count{labels} 1.0",
        f"workqueue_work_duration_seconds_count{labels} 1.0",
        f"workqueue_longest_running_processor_seconds{labels} 0.0",
    ):
        assert sample in text


def test_no_creation_times_are_exposed(metrics: Metrics) -> None:
    metrics.controller("kustomization", "home")
    assert "_created" not in metrics.render().decode()


def test_our_metrics_tell_the_cluster(metrics: Metrics) -> None:
    metrics.drift_corrections.labels("edited", "home").inc()
    metrics.rest_client_requests.labels("200", "GET", "api:6443", "home").inc()
    text = metrics.render().decode()
    assert f'gitopsd_build_info{{version="{api.__version__}"}} 1.0' in text
    assert 'gitopsd_drift_corrections_total{cluster="home",drift="edited"} 1.0' in text
    assert (
        'rest_client_requests_total{cluster="home",code="200",host="api:6443",method="GET"} 1.0'
        in text
    )


def test_number_of_object_histograms_is_bounded_and_the_stalest_goes(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "OBJECT_LIMIT", 2)
    for name in ("a", "b", "a", "c"):
        metrics.observe_reconcile(ref(name), 0.1)
    assert objects(metrics) == ["a", "c"]
    text = metrics.render().decode()
    assert len(re.findall(r'gotk_reconcile_duration_seconds_bucket{.*name="a"', text)) == 6


def test_object_that_is_gone_leaves_nothing(metrics: Metrics) -> None:
    metrics.observe_reconcile(ref("a"), 0.1)
    metrics.suspended(ref("a"), is_suspended=True)
    assert 'gotk_suspend_status{cluster="home"' in metrics.render().decode()
    metrics.forget_object(ref("a"))
    metrics.forget_object(ref("a"))
    assert 'name="a"' not in metrics.render().decode()


def test_cluster_that_is_gone_leaves_nothing(metrics: Metrics) -> None:
    for cluster in ("home", "away"):
        metrics.observe_reconcile(ref("a", cluster), 0.1)
        metrics.cluster_up.labels(cluster).set(1)
        metrics.controller("kustomization", cluster)
        metrics.watch_queue("kustomization", cluster, WorkQueue())
    metrics.forget_cluster("away")
    assert 'cluster="away"' not in metrics.render().decode()
    assert objects(metrics) == ["a"]
    metrics.observe_reconcile(ref("a", "away"), 0.1)
    assert objects(metrics, "away") == ["a"]


def test_child_process_is_counted_by_how_it_ended(metrics: Metrics) -> None:
    with metrics.child_process("kustomize"):
        pass
    with pytest.raises(OSError, match="gone"), metrics.child_process("kustomize"):
        raise OSError("gone")
    for result in ("ended", "failed"):
        labels = {"program": "kustomize", "result": result}
        assert metrics.registry.get_sample_value("gitopsd_child_processes_total", labels) == 1


def test_peaks_of_memory_are_in_bytes(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    own = metrics.registry.get_sample_value("gitopsd_peak_memory_bytes")
    assert own is not None
    assert 10 * 2**20 < own < 10 * 2**30
    assert metrics.registry.get_sample_value("gitopsd_child_peak_memory_bytes") is not None
    monkeypatch.setattr(sys, "platform", "darwin")
    mac = metrics.registry.get_sample_value("gitopsd_peak_memory_bytes")
    assert mac is not None
    assert mac < own / 100
