"""The development cluster itself: started, restarted, talked to, and gone when its starter is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from devcluster.access import KubectlError
from devcluster.accounting import AuditLog, Kind, Totals
from devcluster.api import Api, ApiError, Credentials
from devcluster.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def api(cluster: Cluster) -> Iterator[Api]:
    client = Api(Credentials(cluster.kubeconfig))
    yield client
    client.close()


def test_deleted_namespace_goes_away_with_what_is_in_it(cluster: Cluster, api: Api) -> None:
    cluster.kubectl("create", "namespace", "doomed")
    cluster.kubectl("create", "configmap", "inside", "-n", "doomed")
    api.delete("/api/v1/namespaces/doomed")
    assert api.wait("/api/v1/namespaces/doomed", lambda obj: obj is None, 20) is None


def test_new_user_may_do_nothing_until_a_role_says_so(cluster: Cluster, namespace: str) -> None:
    api = Api(Credentials(cluster.user("bob", groups=["devs"])))
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with pytest.raises(ApiError, match="403"):
        api.get(path)
    cluster.kubectl(
        "create", "rolebinding", "devs", "-n", namespace, "--clusterrole=view", "--group=devs"
    )
    assert api.wait(path, lambda obj: obj is not None, 5) if _may(api, path) else True
    api.close()


def test_one_watch_waits_for_objects_that_are_there_and_for_those_that_come(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.post(path, {"metadata": {"name": "first"}})
    seen = []

    def holds(obj: dict[str, Any]) -> bool:
        name = obj["metadata"]["name"]
        seen.append(name)
        if name == "first":
            cluster.kubectl("create", "configmap", "second", "-n", namespace)
        return True

    api.wait_all(path, ["first", "second"], holds, 30)
    assert {"first", "second"} <= set(seen)
    with pytest.raises(TimeoutError, match="third is not as expected"):
        api.wait_all(path, ["first", "third"], lambda _: True, 1)


def _may(api: Api, path: str) -> bool:
    """Wait for the authoriser, which learns of a binding by watch."""
    for _ in range(500):
        if api.raw("GET", path)[0] == 200:
            return True
    pytest.fail("the role binding had no effect")


def test_service_account_gets_a_token(cluster: Cluster, namespace: str) -> None:
    token = cluster.kubectl("create", "token", "default", "-n", namespace)
    assert token.count(".") == 2


def test_failing_kubectl_says_why(cluster: Cluster) -> None:
    with pytest.raises(KubectlError, match='"nothing" not found'):
        cluster.kubectl("get", "namespace", "nothing")


def test_api_server_comes_back_at_the_same_address_with_the_same_data(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    before = cluster.pids
    cluster.kill_api()
    with pytest.raises(OSError, match="refused"):
        api.get("/readyz")
    cluster.start_api()
    assert api.get(f"/api/v1/namespaces/{namespace}") is not None
    after = cluster.pids
    assert {name for name in before if before[name] != after[name]} == {"kube-apiserver"}


def test_objects_are_posted_patched_waited_for_and_deleted(api: Api, namespace: str) -> None:
    folder = f"/api/v1/namespaces/{namespace}/configmaps"
    api.post(folder, {"metadata": {"name": "a"}, "data": {"key": "1"}})
    api.patch(f"{folder}/a", {"data": {"key": "2"}})
    found = api.wait(f"{folder}/a", lambda obj: obj is not None and obj["data"]["key"] == "2", 5)
    assert found is not None
    api.delete(f"{folder}/a")
    api.delete(f"{folder}/a")
    assert api.get(f"{folder}/a") is None
    with pytest.raises(TimeoutError, match="there is no such object"):
        api.wait(f"{folder}/a", lambda obj: obj is not None, 0.01)


def test_totals_count_what_all_clients_asked(api: Api, namespace: str) -> None:
    totals = Totals(api)
    for _ in range(3):
        api.get(f"/api/v1/namespaces/{namespace}/podtemplates/none")
    assert totals.take()[Kind("get", "podtemplates")] == 3


def test_pods_of_a_deployment_become_ready(tmp_path: Path) -> None:
    with Cluster(tmp_path / "here", pods=True) as cluster:
        cluster.kubectl("create", "deployment", "web", "--image=web", "--replicas=2")
        cluster.kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=30s")
        cluster.kubectl("create", "job", "once", "--image=once")
        cluster.kubectl("wait", "job/once", "--for=condition=Complete", "--timeout=30s")
        cluster.kubectl("delete", "deployment/web")
        cluster.kubectl("wait", "pods", "-l", "app=web", "--for=delete", "--timeout=30s")


def test_cluster_ends_with_a_killed_starter_and_is_the_same_again_by_command(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "here"
    script = (
        "from pathlib import Path\nfrom devcluster.cluster import Cluster\n"
        f"with Cluster(Path({str(folder)!r}), audit=True) as cluster:\n"
        "    cluster.kubectl('create', 'namespace', 'kept')\n"
        "    print(cluster.server, flush=True); input()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert starter.stdout
    server = starter.stdout.readline().decode().strip()
    cluster = Cluster(folder)
    assert {"etcd", "kube-apiserver", "kube-controller-manager"} <= cluster.pids.keys()
    assert AuditLog(cluster.audit_log, "admin").take()[Kind("create", "namespaces")] == 1
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    deadline = 6000
    while cluster.pids and deadline:
        deadline -= 1
        _turn()
    assert cluster.pids == {}

    here = ("--dir", str(folder))
    assert _command(*here, "status").returncode == 1
    up = _command(*here, "up")
    assert f"The cluster answers at {server} " in up.stdout
    assert f"export KUBECONFIG={folder / 'kubeconfig'}" in up.stdout
    assert "kube-apiserver" in _command(*here, "status").stdout
    assert "kept" in _command(*here, "kubectl", "-n", "default", "get", "namespaces").stdout
    version: dict[str, Any] = json.loads(_command(*here, "kubectl", "version", "-o", "json").stdout)
    assert version["serverVersion"]["gitVersion"].startswith("v1.")
    assert _command(*here, "down", "--purge").returncode == 0
    assert not folder.exists()


def _turn() -> None:
    """Let a hundredth of a second go by."""
    subprocess.run(["sleep", "0.01"], check=True)


def _command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devcluster", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_existing_cluster_is_used_and_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    here = ("--dir", str(tmp_path / "here"))
    given = {"GITOPSD_TEST_KUBECONFIG": str(cluster.kubeconfig)}
    assert "nothing started" in _command(*here, "up", **given).stdout
    found = _command(*here, "kubectl", "get", "namespace", "default", "-o", "name", **given)
    assert found.stdout == "namespace/default\n"
    missing = _command(*here, "up", GITOPSD_TEST_KUBECONFIG=str(tmp_path / "none"))
    assert missing.returncode == 1
    assert "no such file" in missing.stderr


def test_programs_come_from_the_given_assets(tmp_path: Path, cluster: Cluster) -> None:
    assert cluster.pids  # the programs are built
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("etcd", "kube-apiserver", "kubectl"):
        (assets / name).symlink_to(_built(name))
    here = ("--dir", str(tmp_path / "here"))
    up = _command(*here, "up", KUBEBUILDER_ASSETS=str(assets))
    assert up.returncode == 0, up.stderr
    assert "no kube-controller-manager there" in up.stderr
    _command(*here, "down")


def _built(name: str) -> Path:
    from devcluster import access

    return access.program(name).resolve().parent / name
