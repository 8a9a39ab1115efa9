"""Rules of Helm that are our own code, compared with what the real helm does."""

from __future__ import annotations

import json
import random
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kube import manifests
from reconcilers.helmrelease import chart, split
from reconcilers.helmrelease.split import Document
from tests.support import helmcharts, helming

if TYPE_CHECKING:
    from pathlib import Path

KINDS = (
    *("Namespace", "Secret", "ConfigMap", "ServiceAccount", "Role", "RoleBinding", "Service"),
    *("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Ingress", "Pod", "LimitRange"),
    *("PersistentVolumeClaim", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"),
    *("ClusterRole", "ClusterRoleBinding", "APIService", "StorageClass", "PriorityClass"),
    *("ValidatingWebhookConfiguration", "CustomResourceDefinition", "Zebra", "Aardvark", "Gateway"),
)


def template(folder: Path, archive: bytes, values: dict[str, Any]) -> str:
    """Return what ``helm template --include-crds`` prints."""
    file = folder / "chart.tgz"
    file.write_bytes(archive)
    arguments = ("template", "app", str(file), "--include-crds", "--values", "-")
    done = subprocess.run(
        [helming.helm_program(), *arguments],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"HOME": str(folder)},
    )
    return done.stdout


def definition(name: str) -> str:
    """Return a CustomResourceDefinition, as far as rendering goes."""
    return yaml.safe_dump({"kind": "CustomResourceDefinition", "metadata": {"name": name}})


def family() -> bytes:
    """Return a chart with subcharts that tags and conditions switch, one of them twice."""
    leaf = helmcharts.pack("leaf", {"crds/a.yaml": definition("leaf")})
    files: dict[str, str | bytes] = {
        "crds/a.yaml": definition("middle"),
        "charts/leaf-0.1.0.tgz": leaf,
        "values.yaml": "leaf: {enabled: true}\n",
    }
    wanted = [{"name": "leaf", "version": "0.1.0", "condition": "leaf.enabled,leaf.on"}]
    middle = helmcharts.pack("middle", files, dependencies=wanted)
    dependencies = [
        {"name": "middle", "version": "0.1.0", "condition": "middle.enabled", "tags": ["a", "b"]},
        {"name": "leaf", "version": "0.1.0", "alias": "twig", "condition": "twig.enabled"},
        {"name": "other", "version": "0.1.0", "tags": ["b"]},
    ]
    whole: dict[str, str | bytes] = {
        "crds/a.yaml": definition("root"),
        "charts/middle-0.1.0.tgz": middle,
        "charts/leaf-0.1.0.tgz": helmcharts.pack("leaf", {"crds/a.yaml": definition("twig")}),
        "charts/other-0.1.0.tgz": helmcharts.pack("other", {"crds/a.yaml": definition("other")}),
        "charts/free-0.1.0.tgz": helmcharts.pack("free", {"crds/a.yaml": definition("free")}),
        "values.yaml": "twig: {enabled: false}\n",
    }
    return helmcharts.pack("root", whole, dependencies=dependencies)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"tags": {"a": False}},
        {"tags": {"a": False, "b": True}},
        {"tags": {"b": False}},
        {"tags": {"a": False, "b": False}, "middle": {"enabled": True}},
        {"middle": {"enabled": False}},
        {"middle": {"enabled": "no"}},
        {"middle": {"leaf": {"enabled": False}}},
        {"middle": {"leaf": {"enabled": None, "on": False}}},
        {"twig": {"enabled": True}},
        {"twig": None},
    ],
    ids=json.dumps,
)
def test_the_same_subcharts_are_enabled(tmp_path: Path, values: dict[str, Any]) -> None:
    printed = manifests.load_all(template(tmp_path, family(), values))
    wanted = {each["metadata"]["name"] for each in printed if each}
    loaded = chart.load(tmp_path / "chart.tgz", json.dumps(values))
    found = {each["metadata"]["name"] for each in chart.definitions(loaded, values)}
    assert found == wanted


def test_objects_come_in_the_same_order(tmp_path: Path) -> None:
    shuffled = random.Random(7).sample(KINDS * 2, k=len(KINDS) * 2)
    files = {
        f"templates/{number % 5}-{number}.yaml": (
            f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: n{number}}}\n"
        )
        for number, kind in enumerate(shuffled)
    }
    printed = template(tmp_path, helmcharts.pack("root", files), {})
    wanted = re.findall(r"^# Source: (\S+)$", printed, re.MULTILINE)
    documents = [Document(f"root/{path}", yaml.safe_load(files[path])) for path in sorted(files)]
    manifest, _ = split.release(documents)
    assert re.findall(r"^# Source: (\S+)$", manifest, re.MULTILINE) == wanted
    assert len(wanted) == len(files)
