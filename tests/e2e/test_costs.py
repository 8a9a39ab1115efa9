"""What the daemon costs an API server and a machine: counts, never times."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bench.fixtures import Fixture
from devcluster import accounting, memory
from devcluster.accounting import Kind
from tests.support import estate
from tests.support.estate import metric

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from bench.bed import Bed
    from devcluster.cluster import Cluster
    from tests.support.estate import Tenant

pytestmark = pytest.mark.leftovers("connections to the Git server live as long as the daemon")

SOME, MANY = 50, 1000
IDLE_MIB, FULL_MIB = 80.0, 110.0
OPERATIONS = ("get", "dry_run", "apply", "delete")
READS = {"get", "list", "dry-run"}
HEAVY = (
    "apprise",
    "google.auth",
    "httpx",
    "jwt",
    "kubernetes_asyncio.client.models",
    "mcp",
    "numpy",
    "oauthlib",
    "pydantic",
    "requests",
)


@pytest.fixture
def fixture(tenant: Tenant) -> Fixture:
    """Objects that are applied."""
    made = Fixture(tenant.name, SOME)
    tenant.push(made.files())
    tenant.kustomize("objects", interval="1s")
    tenant.until_applied("objects")
    return made


def about_objects(counts: Counter[Kind]) -> dict[str, int]:
    """Return how many requests there were for the fixture's objects, by verb."""
    return {kind.verb: number for kind, number in counts.items() if kind.resource == "configmaps"}


def test_interval_run_with_nothing_to_do_sends_nothing(
    bed: Bed, tenant: Tenant, fixture: Fixture
) -> None:
    tenant.patch_source({"interval": "1s"})
    bed.wait_handled(tenant.kustomization("objects"), bed.request(tenant.kustomization("objects")))
    bed.count()
    runs, fetches = _runs(bed, "kustomization"), _runs(bed, "gitrepository")
    estate.until(lambda: _runs(bed, "kustomization") >= runs + 3, "three interval runs")
    estate.until(lambda: _runs(bed, "gitrepository") >= fetches + 3, "three looks at Git")
    counts = bed.count()
    assert accounting.managed(counts) == 0
    assert [kind for kind in counts if kind.verb not in READS] == []


def test_push_of_one_change_is_one_apply(bed: Bed, tenant: Tenant, fixture: Fixture) -> None:
    bed.count()
    fixture.values["object-0007"] = "changed"
    tenant.push({"objects/object-0007.yaml": fixture.files()["objects/object-0007.yaml"]})
    tenant.until_applied("objects")
    counts = bed.count()
    assert about_objects(counts) == {"patch": 1}
    assert accounting.managed(counts) == 1
    assert counts[Kind("patch", "kustomizations/status")] == 1


def test_push_of_nothing_that_concerns_it_costs_managed_objects_nothing(
    bed: Bed, tenant: Tenant, fixture: Fixture
) -> None:
    bed.count()
    tenant.push({"README.md": "other words"})
    tenant.until_applied("objects")
    assert accounting.managed(bed.count()) == 0


def test_commit_that_touches_one_of_many_paths_is_one_apply_and_records_of_the_revision(
    bed: Bed, tenant: Tenant
) -> None:
    folders = [f"f{number:02}" for number in range(12)]
    tenant.push({f"{each}/a.yaml": estate.config_map(tenant.name, each) for each in folders})
    for each in folders:
        tenant.kustomize(each, wait=True)
    for each in folders:
        tenant.until_applied(each)
    bed.count()
    builds = metric(bed.daemon, "gitopsd_builds_total", way="plain")
    tenant.push({"f03/a.yaml": estate.config_map(tenant.name, "f03", k="2")})
    for each in folders:
        tenant.until_applied(each)
    counts = bed.count()
    events = counts.pop(Kind("create", "events"))
    assert counts.pop(Kind("patch", "configmaps")) == 1
    assert counts.pop(Kind("patch", "kustomizations/status")) == len(folders)
    assert {kind.resource.partition("/")[0] for kind in counts} <= {
        "",  # the proof that the API server is there
        "gitrepositories",  # the Receiver's request, and the artifact
        "secrets",  # its token
    }
    assert events <= 5  # of the artifact and of the one apply
    assert metric(bed.daemon, "gitopsd_builds_total", way="plain") == builds + 1


@pytest.mark.parametrize("has_caches", [True, False])
def test_cold_start_writes_nothing(
    bed: Bed, tenant: Tenant, fixture: Fixture, *, has_caches: bool
) -> None:
    assert bed.daemon
    bed.daemon.stop()
    if not has_caches:
        shutil.rmtree(bed.daemon.data_dir)
    bed.count()
    name = tenant.kustomization("objects")
    token = bed.request(name)
    bed.daemon.start()
    bed.wait_handled(name, token)
    counts = bed.count()
    assert metric(bed.daemon, "gitopsd_drift_corrections_total") == 0
    found = about_objects(counts)
    assert set(found) <= {"list"}
    # The answer to the request; before that, without caches, that the artifact is to be made again.
    assert counts[Kind("patch", "kustomizations/status")] <= (1 if has_caches else 3)


def test_metrics_count_what_the_server_counts(bed: Bed, tenant: Tenant, fixture: Fixture) -> None:
    bed.count()
    before = {each: _requests(bed, each) for each in OPERATIONS}
    fetched = metric(bed.daemon, "gitopsd_fetches_total", result="succeeded")
    objects = metric(bed.daemon, "gitopsd_tracked_objects")
    fixture.values["object-0001"] = "changed"
    del fixture.values["object-0002"]
    texts: dict[str, str | None] = {"objects/object-0002.yaml": None}
    tenant.push(texts | {"objects/object-0001.yaml": fixture.files()["objects/object-0001.yaml"]})
    tenant.until_applied("objects")
    bed.api.delete(tenant.object("object-0003"))
    tenant.until_live("object-0003", lambda obj: obj is not None)
    served = about_objects(bed.count())
    counted = {each: _requests(bed, each) - before[each] for each in OPERATIONS}
    assert counted["apply"] == served["patch"] == 2
    assert counted["delete"] == served["delete"] == 1
    assert counted["get"] == served.get("get", 0)
    assert counted["dry_run"] == served.get("dry-run", 0)
    assert metric(bed.daemon, "gitopsd_fetches_total", result="succeeded") > fetched
    assert metric(bed.daemon, "gitopsd_tracked_objects") == objects - 1
    assert metric(bed.daemon, "gitopsd_watch_events_total", type="deleted") >= 2


def test_nothing_heavy_is_imported() -> None:
    program = "import daemon.app, cli.run, json, sys; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    loaded: list[str] = json.loads(run.stdout)
    found = [name for name in loaded if name in HEAVY or name.startswith(tuple(_inside(HEAVY)))]
    assert found == []


def test_memory_stays_within_its_budget(audited: Cluster, tmp_path: Path) -> None:
    with estate.running({"home": audited}, tmp_path) as beds:
        bed = beds["home"]
        bed.count()
        assert memory.resident_mib(bed.pids) <= IDLE_MIB
        with estate.tenant(bed, "memory") as tenant:
            fixture = Fixture(tenant.name, MANY)
            tenant.push(fixture.files())
            tenant.kustomize("objects")
            tenant.until_applied("objects")
            fixture.values = dict.fromkeys(fixture.values, "second")
            tenant.push(fixture.files())
            tenant.until_applied("objects")
            bed.count()
            assert memory.resident_mib(bed.pids) <= FULL_MIB


def _requests(bed: Bed, operation: str) -> float:
    return metric(bed.daemon, "gitopsd_apply_requests_total", operation=operation)


def _runs(bed: Bed, controller: str) -> float:
    return metric(bed.daemon, "controller_runtime_reconcile_total", controller=controller)


def _inside(packages: tuple[str, ...]) -> list[str]:
    return [f"{name}." for name in packages]
