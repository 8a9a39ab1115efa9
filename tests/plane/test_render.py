"""Rendering by the real helm, through the connection that is lent to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from api import meta
from api.helm import HelmRelease, ValuesReference
from devcluster import toolcache
from kube import manifests
from kube.helm import record as records
from kube.objects import GVK, Resource
from reconcilers.helmrelease import program, values
from reconcilers.helmrelease.program import Helm, HelmError, HelmMissing, Place
from reconcilers.helmrelease.render import Renderer, RenderError, Request
from reconcilers.kustomization.kustomize import Kustomize
from runtime.limits import Processes, Threads
from runtime.metrics import Metrics
from runtime.process import ProcessTimeout
from tests.support import api, helmcharts, helming
from tests.support.rendering import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from devcluster.cluster import Cluster
    from kube.helm.record import Record
    from kube.objects import JsonObject

ROLES = Resource(GVK("rbac.authorization.k8s.io", "v1", "Role"), "roles", is_namespaced=True)
BINDINGS = Resource(
    GVK("rbac.authorization.k8s.io", "v1", "RoleBinding"), "rolebindings", is_namespaced=True
)
FACTS = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: facts
data:
  revision: {{ .Release.Revision | quote }}
  isInstall: {{ .Release.IsInstall | quote }}
  isUpgrade: {{ .Release.IsUpgrade | quote }}
  namespace: {{ .Release.Namespace }}
  chart: {{ .Chart.Version }}
  version: {{ .Capabilities.KubeVersion.Version }}
  apps: {{ .Capabilities.APIVersions.Has "apps/v1/Deployment" | quote }}
  found: {{ (lookup "v1" "ConfigMap" .Release.Namespace "known").data | toJson | quote }}
"""
HOOK = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations:
    helm.sh/hook: pre-upgrade,pre-install
    helm.sh/hook-weight: "3"
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: run, image: "app:1"}]
"""
WIDGET = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n"


@pytest.fixture
async def stage(cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[Stage]:
    threads, processes = Threads(), Processes(Metrics())
    helm = Helm(helming.helm_program(), "", tmp_path, processes, threads)
    kustomize = Kustomize(
        toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize", processes, timeout_s=60
    )
    async with api.client(cluster.kubeconfig) as client:
        renderer = Renderer(helm, kustomize, threads)
        yield Stage(client, renderer, helm, threads, namespace, tmp_path)
    await threads.aclose()


def pack(*templates: str, **files: str | bytes) -> bytes:
    """Return a chart of templates; other files have ``__`` for ``/`` in their names."""
    named = {f"templates/{number}.yaml": text for number, text in enumerate(templates)}
    others = {name.replace("__", "/"): content for name, content in files.items()}
    return helmcharts.pack("demo", {**named, **others})


def objects(record: Record) -> list[JsonObject]:
    return list(manifests.load_all(record.manifest))


def facts(record: Record) -> JsonObject:
    """Return what the template ``FACTS`` shows."""
    (found,) = [each for each in objects(record) if each["metadata"]["name"] == "facts"]
    data: JsonObject = found["data"]
    return data


async def leftovers(stage: Stage) -> list[Path]:
    """Return private folders that are still there."""
    return await asyncio.to_thread(_leftovers, stage)


def _leftovers(stage: Stage) -> list[Path]:
    parent, prefix = stage.helm._folders.make().parent, stage.helm._folders._prefix
    found = list(parent.glob(f"{prefix}*"))
    stage.helm._folders.sweep()
    return found[1:]


async def test_an_install_sees_the_cluster_and_its_own_revision(stage: Stage) -> None:
    await api.put(stage.client, stage.namespace, "known", a="b")
    record = await stage.render(pack(FACTS))
    found = facts(record)
    assert (found["revision"], found["isInstall"], found["isUpgrade"]) == ("1", "true", "false")
    assert found["apps"] == "true"
    assert found["found"] == '{"a":"b"}'
    version = orjson.loads(await stage.client.get_raw("/version"))["gitVersion"]
    assert found["version"] == version
    assert (record.status, record.info.description) == (
        "pending-install",
        "Initial install underway",
    )
    assert await leftovers(stage) == []


async def test_a_record_holds_the_chart_the_values_and_the_notes(stage: Stage) -> None:
    archive = pack(FACTS, **{"templates__NOTES.txt": "hi {{ .Values.a }}"})
    record = await stage.render(archive, {"a": "<&>", "b": {"c": [1, 2.5, None]}})
    assert record.config == {"a": "<&>", "b": {"c": [1, 2.5, None]}}
    assert record.info.notes == "hi <&>"
    assert record.chart_name == "demo@0.1.0"
    whole = msgspec.json.decode(record.fields["chart"])
    assert {each["name"] for each in whole["templates"]} >= {"templates/0.yaml"}
    await stage.storage().create(record)
    again = await stage.storage().last("app")
    assert again is not None
    assert records.dump(again) == records.dump(record)


async def test_an_upgrade_counts_on_from_records_that_failed(stage: Stage) -> None:
    first = await stage.render(pack(FACTS))
    await stage.storage().create(first.with_info(status=records.FAILED))
    second = await stage.render(pack(FACTS), is_upgrade=True)
    found = facts(second)
    assert (found["revision"], found["isInstall"], found["isUpgrade"]) == ("2", "false", "true")
    assert (second.version, second.status) == (2, "pending-upgrade")


async def test_records_in_another_namespace_are_found(
    stage: Stage, namespace: str, cluster: Cluster
) -> None:
    place = Place(stage.client, "default", namespace)
    first = await stage.render(pack(FACTS), place=place)
    assert first.namespace == "default"
    await stage.storage().create(first.with_info(status=records.DEPLOYED))
    second = await stage.render(pack(FACTS), is_upgrade=True, place=place)
    assert (facts(second)["revision"], facts(second)["namespace"]) == ("2", "default")
    with pytest.raises(HelmError, match="has no deployed releases"):
        await stage.render(
            pack(FACTS), is_upgrade=True, place=Place(stage.client, "default", "default")
        )


async def test_values_are_reset_or_preserved(stage: Stage) -> None:
    template = (
        "data: {{ .Values | toJson }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    )
    first = await stage.render(pack(template), {"old": "1", "both": "1"})
    await stage.storage().create(first.with_info(status=records.DEPLOYED))
    given = {"both": "2"}
    reset = await stage.render(pack(template), given, is_upgrade=True)
    kept = await stage.render(
        pack(template), given, is_upgrade=True, upgrade={"preserveValues": True}
    )
    assert reset.config == {"both": "2"}
    assert kept.config == {"old": "1", "both": "2"}
    assert objects(kept)[0]["data"] == {"old": "1", "both": "2"}


async def test_objects_carry_the_marks_of_their_origin_and_hooks_do_too(stage: Stage) -> None:
    common = {"labels": {"team": "a", meta.HELM_OWNER_NAME: "x"}, "annotations": {"note": "b"}}
    record = await stage.render(pack(FACTS, HOOK), commonMetadata=common)
    (hook,) = record.hooks
    for obj in (*objects(record), manifests.load(hook.manifest)):
        labels = obj["metadata"]["labels"]
        assert labels[meta.HELM_OWNER_NAME] == "app"
        assert labels[meta.HELM_OWNER_NAMESPACE] == stage.namespace
        assert labels["team"] == "a"
        assert obj["metadata"]["annotations"]["note"] == "b"
    assert (hook.events, hook.weight, hook.path) == (
        ("pre-upgrade", "pre-install"),
        3,
        "demo/templates/1.yaml",
    )
    template = manifests.load(hook.manifest)["spec"]["template"]
    assert "labels" not in template.get("metadata", {})


PATCHES: list[dict[str, Any]] = [
    {
        "kustomize": {
            "patches": [
                {
                    "patch": "- {op: add, path: /data/patched, value: 'yes'}",
                    "target": {"kind": "ConfigMap"},
                },
                {"patch": f"$patch: delete\n{WIDGET}"},
            ],
            "images": [{"name": "app", "newTag": "2"}],
        }
    },
    {"kustomize": {"images": [{"name": "app", "newName": "registry/app"}]}},
]


async def test_post_renderers_follow_one_another_and_may_take_out_unknown_kinds(
    stage: Stage,
) -> None:
    record = await stage.render(pack(FACTS, HOOK, WIDGET), postRenderers=PATCHES)
    (found,) = objects(record)
    assert found["data"]["patched"] == "yes"
    (hook,) = record.hooks
    (container,) = manifests.load(hook.manifest)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry/app:2"
    assert hook.path == "demo/templates/1.yaml"


@pytest.mark.parametrize(
    ("strategy", "image", "has_labels"),
    [("separate", "app:2", True), ("nohooks", "app:1", False), ("combined", "app:2", True)],
)
async def test_hooks_are_post_rendered_as_the_strategy_says(
    stage: Stage, strategy: str, image: str, has_labels: bool
) -> None:
    renderers = [{"kustomize": {"images": [{"name": "app", "newTag": "2"}]}}]
    record = await stage.render(
        pack(FACTS, HOOK), postRenderers=renderers, postRenderStrategy=strategy
    )
    (hook,) = record.hooks
    job = manifests.load(hook.manifest)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert (container["image"], "labels" in job["metadata"]) == (image, has_labels)
    assert objects(record)[0]["metadata"]["labels"][meta.HELM_OWNER_NAME] == "app"


async def test_a_post_renderer_that_matches_nothing_says_so(stage: Stage) -> None:
    patch = {"patch": "apiVersion: v1\nkind: Secret\nmetadata: {name: none}\ndata: {a: YQ==}\n"}
    with pytest.raises(RenderError) as caught:
        await stage.render(pack(FACTS), postRenderers=[{"kustomize": {"patches": [patch]}}])
    text = str(caught.value)
    assert text.startswith("error while running post render on files: kustomize build failed: ")
    assert "no matches for Id Secret" in text
    assert "/" + "dev" not in text


async def test_the_chart_of_an_oci_artifact_renders_with_its_digest(stage: Stage) -> None:
    revision = f"0.1.0@sha256:{'ab' * 32}"
    record = await stage.render(pack(FACTS), revision=revision)
    assert facts(record)["chart"] == "0.1.0+abababababab"
    assert record.chart.version == "0.1.0+abababababab"


async def test_a_chart_that_lacks_a_dependency_renders_as_with_flux(stage: Stage) -> None:
    files = {"templates/a.yaml": FACTS}
    wanted = [{"name": "missing", "version": "1.0.0", "repository": "https://example.com"}]
    record = await stage.render(helmcharts.pack("demo", files, dependencies=wanted))
    assert facts(record)["revision"] == "1"


async def test_large_numbers_of_a_target_path_come_out_whole(stage: Stage) -> None:
    template = "data: {number: {{ .Values.n | quote }}}\napiVersion: v1\nkind: ConfigMap\n"
    archive = pack(template + "metadata: {name: a}\n")
    reference = ValuesReference(kind="Secret", name="s", target_path="n")
    rendered = await stage.renderer.render(
        Request(
            item=msgspec.convert({"spec": {"interval": "1m"}}, HelmRelease),
            chart=await asyncio.to_thread(stage.load, archive),
            values=values.of({}, [(reference, "ns", b"12345678")]),
            name="app",
            place=Place(stage.client, stage.namespace, stage.namespace),
            is_upgrade=False,
        )
    )
    assert objects(rendered.record)[0]["data"] == {"number": "12345678"}
    assert rendered.record.config == {"n": 12345678}


SCHEMA = '{"type": "object", "properties": {"port": {"type": "integer", "maximum": 65535}}}'


@pytest.mark.parametrize(
    ("templates", "files", "given", "complaint"),
    [
        (
            ("a: {{ .Values.x.y.z }}\n",),
            {},
            {},
            r"(?s)demo/templates/0\.yaml:1:.*nil pointer evaluating interface \{\}\.y",
        ),
        (("ok: 1\n{{ if }}\n",), {}, {}, r"parse error at \(demo/templates/0\.yaml:2\)"),
        (
            ('a: {{ required "give me a name" .Values.name }}\n',),
            {},
            {},
            r"demo/templates/0\.yaml:1:6\).*give me a name",
        ),
        ((FACTS,), {"values.schema.json": SCHEMA}, {"port": 70000}, "(?s)schema.*/port"),
        (("a: b: c\n",), {}, {}, r"demo/templates/0\.yaml.*mapping values are not allowed"),
        (("- a list\n",), {}, {}, r"demo/templates/0\.yaml"),
    ],
)
async def test_what_helm_complains_of_names_the_file_and_the_line(
    stage: Stage,
    templates: tuple[str, ...],
    files: dict[str, str],
    given: dict[str, Any],
    complaint: str,
) -> None:
    with pytest.raises(HelmError, match=complaint) as caught:
        await stage.render(pack(*templates, **files), given)
    assert not str(caught.value).startswith(("Error", "INSTALLATION"))
    assert str(stage.helm._folders._prefix) not in str(caught.value)


async def test_a_schema_is_not_asked_where_the_spec_says_so(stage: Stage) -> None:
    archive = pack(FACTS, **{"values.schema.json": SCHEMA})
    options = {"disableSchemaValidation": True}
    record = await stage.render(archive, {"port": 70000}, install=options)
    assert record.config == {"port": 70000}


async def test_an_object_of_another_release_is_refused_where_it_may_not_be_taken(
    stage: Stage,
) -> None:
    await api.put(stage.client, stage.namespace, "facts", a="b")
    with pytest.raises(HelmError) as caught:
        await stage.render(pack(FACTS), install={"disableTakeOwnership": True})
    assert 'ConfigMap "facts"' in str(caught.value)
    assert "invalid ownership metadata" in str(caught.value)
    assert facts(await stage.render(pack(FACTS)))["revision"] == "1"


async def test_a_chart_that_makes_nothing_is_a_release_without_objects(stage: Stage) -> None:
    for options in ({}, {"disableTakeOwnership": True}):
        record = await stage.render(pack("{{- if false }}a: b{{ end }}"), install=options)
        assert (record.manifest, record.hooks) == ("", ())


async def test_helm_acts_as_the_account_of_the_release(stage: Stage) -> None:
    await api.put(stage.client, stage.namespace, "known", a="b")
    user = f"system:serviceaccount:{stage.namespace}:tenant"
    place = Place(stage.client.impersonating(user), stage.namespace, stage.namespace)
    with pytest.raises(HelmError, match=f'User "{user}" cannot get resource "configmaps"'):
        await stage.render(pack(FACTS), place=place)


async def test_no_secret_is_on_the_command_line_and_nothing_stays(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []
    run = Processes.run

    async def spy(self: Processes, argv: list[str], **options: Any) -> Any:
        seen.append((argv, dict(options["env"])))
        assert (await asyncio.to_thread(options["cwd"].stat)).st_mode & 0o077 == 0
        return await run(self, argv, **options)

    monkeypatch.setattr(Processes, "run", spy)
    await stage.render(pack(FACTS), {"password": "hunter2"})
    ((argv, env),) = seen
    assert "hunter2" not in " ".join([*argv, *env.values()])
    assert "127.0.0.1" not in " ".join([*argv, *env.values()])
    assert await leftovers(stage) == []


async def test_a_render_that_hangs_is_stopped_and_leaves_nothing(stage: Stage) -> None:
    loop = "{{ range until 9000 }}{{ range until 90000 }}{{ end }}{{ end }}a: b\n"
    slow = await asyncio.to_thread(stage.load, pack(loop))
    place = Place(stage.client, stage.namespace, stage.namespace)
    with pytest.raises(ProcessTimeout):
        async with stage.helm.session(place) as session:
            await session.run(["template", "app", str(slow.file)], timeout_s=0.5)
    assert await leftovers(stage) == []


async def test_a_lent_connection_lets_in_nobody_else(stage: Stage) -> None:
    place = Place(stage.client, stage.namespace, stage.namespace)
    async with stage.helm.session(place) as session:
        file = session.folder / "kubeconfig"
        lent = orjson.loads(await asyncio.to_thread(file.read_bytes))
        assert (await asyncio.to_thread(file.stat)).st_mode & 0o077 == 0
        server = lent["clusters"][0]["cluster"]["server"]
        port, _, key = server.removeprefix("http://127.0.0.1:").partition("/")
        assert await status(int(port), f"/{key}/version") == 200
        assert await status(int(port), "/version") == 403
        assert await status(int(port), f"/{'x' * len(key)}/version") == 403
    with pytest.raises(ConnectionRefusedError):
        await status(int(port), f"/{key}/version")


async def status(port: int, path: str) -> int:
    """Return how a server on loopback answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_machine_without_helm_says_what_to_do(stage: Stage) -> None:
    advice = "helm is not installed; get it"
    without = Helm(None, advice, stage.folder, Processes(Metrics()), stage.threads)
    with pytest.raises(HelmMissing, match=advice):
        async with without.session(Place(stage.client, "a", "a")):
            pass


async def test_a_helm_that_is_gone_says_so(stage: Stage) -> None:
    gone = Helm(Path(os.devnull), "", stage.folder, Processes(Metrics()), stage.threads)
    with pytest.raises(HelmMissing, match="null"):
        async with gone.session(Place(stage.client, "a", "a")) as session:
            await session.run(["version"], timeout_s=10)


async def test_a_helm_that_is_killed_says_so_and_leaves_nothing(stage: Stage) -> None:
    suicidal = stage.folder / "helm"
    await asyncio.to_thread(suicidal.write_text, "#!/bin/sh\nkill -9 $$\n")
    await asyncio.to_thread(suicidal.chmod, 0o700)
    helm = Helm(suicidal, "", stage.folder, Processes(Metrics()), stage.threads)
    with pytest.raises(HelmError, match="helm was killed by signal 9"):
        async with helm.session(Place(stage.client, "a", "a")) as session:
            await session.run(["version"], timeout_s=10)
    assert await leftovers(stage) == []


async def test_a_machine_without_room_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage.helm._folders, "make", refuse)
    with pytest.raises(RenderError, match="no place to render in: No space left on device"):
        await stage.render(pack(FACTS))


def test_helm_s_complaint_is_told_without_its_prefixes_and_our_paths() -> None:
    address = f"http://127.0.0.1:4711/{'x' * 43}"
    stderr = (
        "level=WARN msg=something\nError: INSTALLATION FAILED: cannot read /private/a/stub\n"
        f'Get "{address}/version": refused\n'
    )
    assert program.explain(stderr, Path("/private/a")) == (
        'cannot read stub\nGet "the API server/version": refused'
    )
    assert program.explain("", Path("/private/a")) == "helm gave no reason"
    assert program.explain("panic: oh", Path("/private/a")) == "panic: oh"
