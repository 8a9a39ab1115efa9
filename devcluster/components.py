"""The command lines of a small control plane: everything on loopback, nothing kept safe.

etcd does not flush to disk, which makes a write ten times faster and the data worthless after a
power cut; no leader is elected, because nobody competes. Authorisation is on as in a real cluster.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devcluster import access, toolcache

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

COMPONENTS = ("kube-controller-manager", "kube-scheduler", "kwok")
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts"]},
        {
            "level": "None",
            "users": ["system:apiserver", *(f"system:{name}" for name in COMPONENTS)],
        },
        {"level": "Metadata"},
    ],
}
ENVIRONMENT = {"GOGC": "200"}
"""Of the API server: half as many garbage collections for a third more memory."""
_SERVICE_RANGE = "10.96.0.0/16"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where one cluster lives.

    Args:
        directory: holds the state of every component.
        etcd_port: where etcd listens.
        api_port: where the API server listens.
        audit: whether the API server writes an audit log.
        doorman: a kubeconfig of whom the API server asks about bearer tokens; None for nobody.
        node_port: where the nodes' kubelet answers, if there are nodes.
    """

    directory: Path
    etcd_port: int
    api_port: int
    audit: bool = False
    doorman: Path | None = None
    node_port: int = 0

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def pki(self) -> Path:
        """The folder of the certificates."""
        return self.directory / "pki"

    @property
    def audit_log(self) -> Path:
        """Where the API server writes one JSON line for each request it answered."""
        return self.directory / "audit.log"


def etcd(plan: Plan) -> list[str | Path]:
    """Return etcd's command line."""
    url = f"http://127.0.0.1:{plan.etcd_port}"
    return [
        access.program("etcd"),
        f"--data-dir={plan.directory / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--enable-grpc-gateway=false",  # no web page shall reach it
        "--unsafe-no-fsync",
        "--snapshot-count=10000",
        "--log-level=warn",
    ]


def apiserver(plan: Plan) -> list[str | Path]:
    """Return kube-apiserver's command line."""
    command: list[str | Path] = [
        access.program("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{plan.etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={plan.api_port}",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--client-ca-file={plan.pki / 'ca.crt'}",
        f"--tls-cert-file={plan.pki / 'apiserver.crt'}",
        f"--tls-private-key-file={plan.pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={plan.pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={plan.pki / 'service-account.key'}",
        f"--service-cluster-ip-range={_SERVICE_RANGE}",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--profiling=false",
    ]
    if plan.audit:
        policy = plan.directory / "audit-policy.json"
        policy.write_text(json.dumps(AUDIT_POLICY))
        command += [f"--audit-policy-file={policy}", f"--audit-log-path={plan.audit_log}"]
    if plan.doorman is not None:
        command += [
            f"--authentication-token-webhook-config-file={plan.doorman}",
            "--authentication-token-webhook-version=v1",
            "--authentication-token-webhook-cache-ttl=1s",
        ]
    return command


def controller_manager(plan: Plan, kubeconfig: Path) -> list[str | Path]:
    """Return kube-controller-manager's command line."""
    return [
        access.program("kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        f"--service-account-private-key-file={plan.pki / 'service-account.key'}",
        f"--root-ca-file={plan.pki / 'ca.crt'}",
        "--profiling=false",
    ]


def scheduler(kubeconfig: Path) -> list[str | Path]:
    """Return kube-scheduler's command line."""
    return [
        access.program("kube-scheduler"),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--profiling=false",
    ]


def kwok(plan: Plan, kubeconfig: Path, configs: Iterable[Path]) -> list[str | Path]:
    """Return kwok's command line: it plays every node, the pods on them, and their logs."""
    return [
        toolcache.ensure(toolcache.KWOK) / "kwok",
        f"--kubeconfig={kubeconfig}",
        *(f"--config={path}" for path in configs),
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        "--node-ip=127.0.0.1",
        f"--node-port={plan.node_port}",
        f"--server-address=127.0.0.1:{plan.node_port}",
    ]
