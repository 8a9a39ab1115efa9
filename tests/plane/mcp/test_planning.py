"""What a change of a HelmRelease would do, by every way in which it can change."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from devcluster import toolcache
from tests.support import agents, chartserver, helmcharts, helming, reconciling
from tests.support.agents import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devcluster.cluster import Cluster

pytestmark = pytest.mark.blocking("a plan is built in this process, by the daemon's own code")

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example.com/web:1
        env: [{name: DB_PASSWORD, value: {{ .Values.text | quote }}}]
"""
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {pin: hunter2}\n"


class Shop:
    """A namespace with one HelmRelease, and an agent that asks about it."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self.config = folder / "config.toml"
        kustomize = toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"
        self.config.write_text(
            f'[daemon]\ndata_dir = "{folder}/data"\n'
            f'[tools]\nkustomize = "{kustomize}"\nhelm = "{helming.helm_program()}"\n'
            f'[[clusters]]\nname = "home"\nkubeconfig = "{cluster.kubeconfig}"\n'
        )

    def apply(self, manifest: Mapping[str, Any], manager: str = "test") -> None:
        arguments = ("apply", "--server-side", f"--field-manager={manager}", "--force-conflicts")
        self.cluster.kubectl(
            *arguments, "-n", self.namespace, "-f", "-", input=json.dumps(manifest)
        )

    def release(self, source: str = "GitRepository", chart: str = "./chart", **spec: Any) -> None:
        template = {"chart": chart, "sourceRef": {"kind": source, "name": "charts"}}
        self.apply(
            {
                "apiVersion": "helm.toolkit.fluxcd.io/v2",
                "kind": "HelmRelease",
                "metadata": {"name": "app"},
                "spec": {"interval": "1h", "chart": {"spec": template}, **spec},
            }
        )

    def chart(self, name: str, **files: str) -> Path:
        """Return a chart's directory, with further templates by their name."""
        folder = self.folder / name
        templates = {f"templates/{each}.yaml": text for each, text in files.items()}
        head = {"Chart.yaml": "apiVersion: v2\nname: demo\nversion: 0.2.0\n"}
        for path, text in {**helmcharts.DEMO, **head, **templates}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    async def ask(self, **arguments: Any) -> tuple[str, dict[str, Any], bool]:
        given = {"kind": "HelmRelease", "name": "app", "namespace": self.namespace} | arguments
        async with agents.inside(self.config) as client:
            result = await client.call_tool("plan_change", given)
        return text_of(result), result.structured_content or {}, result.is_error

    async def plan(self, **arguments: Any) -> tuple[str, dict[str, Any]]:
        text, found, failed = await self.ask(**arguments)
        assert not failed, text
        return text, found

    async def refused(self, **arguments: Any) -> str:
        text, _, failed = await self.ask(**arguments)
        assert failed, text
        return text


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    reconciling.prepare(cluster)
    return Shop(cluster, namespace, tmp_path)


def outcomes(found: Mapping[str, Any]) -> dict[str, str]:
    return {each["object"].split("/")[-1]: each["outcome"] for each in found["objects"]}


async def test_local_chart_with_other_values_is_planned_and_nothing_is_written(
    shop: Shop,
) -> None:
    await asyncio.to_thread(shop.release, values={"text": "from the spec"})
    labels = {meta.HELM_OWNER_NAME: "app", meta.HELM_OWNER_NAMESPACE: shop.namespace}
    live = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "app", "labels": labels},
        "data": {"text": "from the spec", "revision": "1"},
    }
    await asyncio.to_thread(shop.apply, live, meta.HELM_MANAGER)
    chart = await asyncio.to_thread(shop.chart, "chart", web=WEB, login=SECRET)

    text, found = await shop.plan(chart=str(chart), values="text: geheim")

    assert found["applier"] == f"HelmRelease/{shop.namespace}/app"
    assert found["content"] == "demo@0.2.0"
    assert found["counts"] == {"changed": 1, "created": 2}
    assert outcomes(found) == {"app": "changed", "login": "created", "web": "created"}
    assert found["changesAnything"]
    changed = next(each for each in found["objects"] if each["outcome"] == "changed")
    fields = {each["field"]: (each.get("before"), each["after"]) for each in changed["fields"]}
    assert fields["data.text"] == ("from the spec", "geheim")
    assert "hunter2" not in text + json.dumps(found)
    secrets = await asyncio.to_thread(
        shop.cluster.kubectl, "get", "secrets,deployments", "-n", shop.namespace, "-o", "name"
    )
    assert not secrets.strip()


async def test_variable_that_is_named_like_a_password_is_masked_in_a_plan(shop: Shop) -> None:
    await asyncio.to_thread(shop.release)
    chart = await asyncio.to_thread(shop.chart, "chart", web=WEB)
    labels = {meta.HELM_OWNER_NAME: "app", meta.HELM_OWNER_NAMESPACE: shop.namespace}
    container = {
        "name": "web",
        "image": "example.com/web:1",
        "env": [{"name": "DB_PASSWORD", "value": "geheim-alt"}],
    }
    live = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container]},
            },
        },
    }
    await asyncio.to_thread(shop.apply, live, meta.HELM_MANAGER)

    text, found = await shop.plan(chart=str(chart), values="text: geheim-neu")

    (changed,) = (each for each in found["objects"] if each["object"].startswith("Deployment/"))
    assert any("env[name=DB_PASSWORD].value" in each["field"] for each in changed["fields"])
    told = text + json.dumps([changed])
    assert "geheim" not in told
    assert "***" in told


async def test_version_of_the_chart_in_its_repository_is_planned(shop: Shop) -> None:
    async with chartserver.running() as server:
        for version in ("1.0.0", "1.1.0"):
            server.publish(helming.chart("web", version))
        await asyncio.to_thread(shop.release, "HelmRepository", "web")
        spec = {"interval": "1h", "url": server.url}
        repository = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "HelmRepository",
            "metadata": {"name": "charts"},
            "spec": spec,
        }
        missing = await shop.refused(revision="1.1.0")
        await asyncio.to_thread(shop.apply, repository)

        _, exact = await shop.plan(revision="1.0.0")
        _, newest = await shop.plan(revision=">=1.0.0")
        nothing = await shop.refused(revision="9.9.9")

    assert (exact["content"], newest["content"]) == ("web@1.0.0", "web@1.1.0")
    assert outcomes(exact) == {"app": "created"}
    assert missing.startswith(f"[not-found] --revision 1.1.0: HelmRepository/{shop.namespace}/")
    assert "9.9.9" in nothing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "."}, "path means nothing to a HelmRelease"),
        ({"patch": "a: b"}, "patch means nothing to a HelmRelease"),
        ({"kind": "ks", "chart": "."}, "chart means nothing to a Kustomization"),
        ({"kind": "ks", "values": "a: b"}, "values means nothing to a Kustomization"),
        ({"chart": ".", "revision": "main"}, "give chart or revision, not both"),
        ({"kind": "ks", "path": ".", "revision": "main"}, "give path or revision, not both"),
        ({"kind": "git"}, "only a Kustomization or a HelmRelease can be planned"),
        ({"kind": "helmreleas"}, "did you mean helmrelease"),
    ],
)
async def test_content_that_a_kind_does_not_have_is_refused(
    shop: Shop, arguments: dict[str, Any], message: str
) -> None:
    assert message in await shop.refused(**arguments)


async def test_release_that_cannot_be_rendered_says_why(shop: Shop) -> None:
    missing = await shop.refused()
    await asyncio.to_thread(shop.release)
    bad = await asyncio.to_thread(shop.chart, "bad", broken="a: {{ .Values.x.y }}\n")

    told = {
        "no artifact": await shop.refused(),
        "no chart": await shop.refused(chart=str(shop.folder / "nowhere")),
        "template": await shop.refused(chart=str(bad)),
        "values": await shop.refused(chart=str(bad), values="- a list"),
        "yaml": await shop.refused(chart=str(bad), values="a: ["),
        "source": await shop.refused(revision="main"),
    }

    assert missing.startswith(f"[not-found] HelmRelease/{shop.namespace}/app is not there")
    assert "has no artifact" in told["no artifact"]
    assert "is not there" in told["no chart"]
    assert "demo/templates/broken.yaml:1" in told["template"]
    assert told["values"] == "[invalid] values: the values are no map"
    assert told["yaml"].startswith("[invalid] values: ")
    assert told["source"].startswith("[not-found] --revision main: GitRepository/")


async def test_large_plan_is_listed_as_far_as_it_was_asked_for(shop: Shop) -> None:
    many = "\n---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map-{number:03}}}"
        for number in range(12)
    )
    await asyncio.to_thread(shop.release)
    chart = await asyncio.to_thread(shop.chart, "many", many=many)

    text, found = await shop.plan(chart=str(chart), limit=5)

    assert (len(found["objects"]), found["omitted"], found["counts"]) == (5, 8, {"created": 13})
    assert text.endswith("# 8 objects more: a larger limit lists them")
