"""Charts of the shapes that public ones have, released by the daemon and by helm, and compared."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import yaml

from api import meta
from kube.objects import GVK, Resource
from tests.support import helmcharts, releaser
from tests.support.releaser import at_revision, gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from kube.objects import JsonObject
    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")

NAMESPACES = Resource(GVK("", "v1", "Namespace"), "namespaces", is_namespaced=False)
OPERATOR = {
    # Defaults at every level, a file of the chart, a checksum, empty and null fields, Go's numbers.
    "values.yaml": """\
global: {registry: example.com}
replicas: 1
port: 8080
size: 1048576
ratio: 0.5
answer: "yes"
extra: {}
annotations:
names: [b, a]
cache: {enabled: false}
web: {enabled: true, text: "of {{ .Release.Name }}"}
tags: {all: false}
""",
    "files/settings.ini": "[main]\nkey = {{ .Values.answer }}\n\n",
    "templates/_helpers.tpl": """\
{{- define "demo.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ .Chart.Name }}
{{- end }}
""",
    "templates/config.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
  namespace: {{ .Release.Namespace }}
  labels: {{- include "demo.labels" . | nindent 4 }}
  annotations:
data:
  settings.ini: |
    {{- tpl (.Files.Get "files/settings.ini") . | nindent 4 }}
  size: {{ .Values.size | quote }}
  mebibytes: {{ div .Values.size 1048576 | quote }}
  ratio: {{ .Values.ratio | quote }}
  answer: {{ .Values.answer | quote }}
  revision: {{ .Release.Revision | quote }}
  isUpgrade: {{ .Release.IsUpgrade | quote }}
  values: {{ .Values.extra | toYaml | quote }}
---
{{- if .Values.extra.nothing }}
apiVersion: v1
kind: ConfigMap
metadata: {name: nothing}
{{- end }}
---
# A document of a comment alone
""",
    # As many charts keep a password that was made once.
    "templates/secret.yaml": """\
{{- $old := lookup "v1" "Secret" .Release.Namespace "password" }}
apiVersion: v1
kind: Secret
metadata:
  name: password
  annotations: {helm.sh/resource-policy: keep}
type: Opaque
data:
  password: {{ if $old }}{{ $old.data.password }}{{ else }}{{ "first" | b64enc }}{{ end }}
  found: {{ ternary "yes" "no" (not (empty $old)) | b64enc }}
""",
    "templates/deployment.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: {{- include "demo.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  strategy: {}
  selector: {matchLabels: {app: demo}}
  template:
    metadata:
      labels: {app: demo}
      annotations:
        checksum/accounts: {{ include (print $.Template.BasePath "/many.yaml") . | sha256sum }}
    spec:
      hostNetwork: false
      initContainers: []
      containers:
      - name: main
        image: "{{ .Values.global.registry }}/demo:{{ .Chart.AppVersion }}"
        ports: [{containerPort: {{ .Values.port }}}]
        resources: {}
        env: []
        livenessProbe: {initialDelaySeconds: 0, httpGet: {path: /, port: {{ .Values.port }}}}
""",
    "templates/many.yaml": """\
{{- range .Values.names }}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: {{ . }}}
automountServiceAccountToken: false
{{- end }}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: one}, spec: {ports: [{port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: two}, spec: {clusterIP: None}}
""",
    "templates/hooks.yaml": """\
{{- range $event := list "install" "upgrade" "delete" "rollback" }}
{{- range $moment := list "pre" "post" }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $moment }}-{{ $event }}
  annotations:
    helm.sh/hook: {{ $moment }}-{{ $event }}
    helm.sh/hook-weight: "{{ if eq $moment "pre" }}-{{ end }}5"
    {{- if eq $event "upgrade" }}
    helm.sh/hook-delete-policy: hook-succeeded
    {{- end }}
{{- end }}
{{- end }}
""",
    "templates/NOTES.txt": "{{ .Release.Name }} has {{ len .Values.names }} accounts.\n",
    # A library, a sub-chart under two names, one of which is off, and values that rise.
    "charts/shared/Chart.yaml": "{apiVersion: v2, name: shared, version: 1.0.0, type: library}",
    "charts/shared/templates/_map.tpl": """\
{{- define "shared.map" -}}
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-{{ .Chart.Name }}}
data: {text: {{ tpl .Values.text . | quote }}, registry: {{ .Values.global.registry }}}
{{- end }}
""",
    "charts/part/Chart.yaml": "{apiVersion: v2, name: part, version: 1.0.0}",
    "charts/part/values.yaml": "text: default\nexports: {up: {risen: yes}}\n",
    "charts/part/templates/map.yaml": '{{ include "shared.map" . }}\n',
}
DEPENDENCIES: list[dict[str, Any]] = [
    {"name": "shared", "version": "1.x", "repository": ""},
    {
        "name": "part", "alias": "web", "version": "1.x", "repository": "",
        "condition": "web.enabled", "import-values": ["up"],
    },
    {
        "name": "part", "alias": "cache", "version": "1.x", "repository": "",
        "condition": "cache.enabled", "tags": ["all"],
    },
]  # fmt: skip
UNWAITED = {"disableWait": True}
SERVERS_OWN = {"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"}


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        yield running


def chart(version: str) -> bytes:
    return helmcharts.pack(
        "demo", OPERATOR, version=version, appVersion="1.10", dependencies=DEPENDENCIES
    )


async def test_a_release_of_the_daemon_is_that_of_helm(
    world: World, namespace: str, tmp_path: Path
) -> None:
    theirs = f"test-{uuid.uuid4().hex[:10]}"
    await world.context.client.create(
        NAMESPACES, "", orjson.dumps({"metadata": {"name": theirs}}), manager="test"
    )
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("install", "1.0.0", {}),
        ("upgrade", "1.1.0", {"names": ["c"], "cache": {"enabled": True}, "extra": {"x": [1]}}),
        ("upgrade", "1.1.0", {"tags": {"all": True}, "web": {"enabled": False}, "replicas": 0}),
    ]
    for number, (verb, version, values) in enumerate(steps, start=1):
        file = tmp_path / f"{version}.tgz"
        file.write_bytes(chart(version))
        # Without a cluster's pods no Deployment becomes ready.
        spec = {"values": values, "install": UNWAITED, "upgrade": UNWAITED}
        await world.release("demo", suspend=True, **spec)
        await world.push(chart(version))
        await world.release("demo", **spec)
        await world.until("demo", at_revision(number))
        world.helm.run(
            verb, "demo", str(file), "-n", theirs, "-f", "-", input=yaml.safe_dump(values)
        )
        assert printed(world, namespace) == printed(world, theirs)
        assert await living(world, namespace) == await living(world, theirs)
    await world.delete("demo")
    await world.until("demo", gone)
    world.helm.run("uninstall", "demo", "-n", theirs)
    left = await living(world, namespace)
    assert left == await living(world, theirs)
    assert {name for _, name in left} >= {"password", "pre-install", "post-delete"}


def printed(world: World, namespace: str) -> dict[str, Any]:
    """Return what helm says of a release, but for where it is and whose it is."""

    def get(what: str) -> str:
        return world.helm.run("get", what, "demo", "-n", namespace).replace(namespace, "NAMESPACE")

    def objects(what: str) -> list[Any]:
        return [cleaned(obj) for obj in yaml.safe_load_all(get(what)) if obj]

    flat = [each for obj in objects("manifest") for each in obj.get("items", [obj])]
    return {
        "manifest": sorted(flat, key=_named),
        "hooks": sorted(objects("hooks"), key=_named),
        "notes": get("notes"),
        "values": get("values"),
    }


async def living(world: World, namespace: str) -> dict[tuple[str, str], Any]:
    """Return the objects in a namespace as users see them."""
    found = {}
    for path in (
        *(f"api/v1/{{}}/{plural}" for plural in ("configmaps", "services", "serviceaccounts")),
        "apis/apps/v1/{}/deployments",
    ):
        raw = await world.context.client.get_raw("/" + path.format(f"namespaces/{namespace}"))
        for item in orjson.loads(raw.replace(namespace.encode(), b"NAMESPACE"))["items"]:
            found[path, str(item["metadata"]["name"])] = cleaned(item)
    secret = await world.live("Secret", "password", namespace)
    found["secrets", "password"] = cleaned(secret)["data"]
    del (
        found["api/v1/{}/serviceaccounts", "default"],
        found["api/v1/{}/configmaps", "kube-root-ca.crt"],
    )
    return found


def cleaned(obj: JsonObject) -> JsonObject:
    """Return an object without what servers and owners put there, and without what is empty."""
    metadata = {
        key: value for key, value in obj.get("metadata", {}).items() if key not in SERVERS_OWN
    }
    owners = {meta.HELM_OWNER_NAME, meta.HELM_OWNER_NAMESPACE}
    metadata["labels"] = {
        key: value for key, value in (metadata.get("labels") or {}).items() if key not in owners
    }
    spec = {
        key: value
        for key, value in (obj.get("spec") or {}).items()
        if key not in {"clusterIP", "clusterIPs"} or value in ("None", ["None"])
    }
    rest = {key: value for key, value in obj.items() if key not in {"status", "metadata", "spec"}}
    filled = {key: value for key, value in metadata.items() if value}
    return {**rest, "metadata": filled, "spec": spec}


def _named(obj: JsonObject) -> tuple[str, str]:
    return str(obj["kind"]), str(obj["metadata"]["name"])
