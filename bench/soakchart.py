"""The chart of the soak of releases: a definition, objects of many kinds, hooks that take time.

Every Job and every pod really runs, as far as pods on paper do, so that there are moments before,
in and after each step of an install, an upgrade and an uninstall.
"""

from __future__ import annotations

from typing import Any, Final

from bench.fixtures import dump

GROUP: Final = "soak.gitopsd.dev"
PRE, POST = "pre-hook", "post-hook"
"""The names of the hooks' Jobs, which are gone once they have succeeded."""
MARK: Final = "soak"
"""The annotation by which a hook's Job tells the value that it was made with."""

_HOOK: Final = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {moment}-hook
  annotations:
    helm.sh/hook: {moment}-install,{moment}-upgrade,{moment}-delete
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
    soak: {{{{ .Values.value | quote }}}}
spec:
  backoffLimit: 0
  template:
    metadata: {{annotations: {{devcluster/phase: {{{{ .Values.{moment}.phase | quote }}}}}}}}
    spec:
      restartPolicy: Never
      containers: [{{name: main, image: soak.example.com/hook}}]
"""
_FILES: Final = {
    "values.yaml": 'value: none\nnames: []\npre: {phase: ""}\npost: {phase: ""}\n',
    "crds/gadgets.yaml": dump(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"gadgets.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                        },
                    }
                ],
            },
        }
    ),
    "templates/hooks.yaml": f"{_HOOK.format(moment='pre')}---\n{_HOOK.format(moment='post')}",
    "templates/objects.yaml": """\
{{- range .Values.names }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ . }}, labels: {app: bench}}
data: {value: {{ $.Values.value | quote }}}
{{- end }}
""",
    "templates/gadget.yaml": f"""\
apiVersion: {GROUP}/v1
kind: Gadget
metadata: {{name: soak}}
spec: {{value: {{{{ .Values.value | quote }}}}}}
""",
    "templates/web.yaml": """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: soak}
---
apiVersion: v1
kind: Service
metadata: {name: soak}
spec: {selector: {app: soak}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: soak}
spec:
  selector: {matchLabels: {app: soak}}
  template:
    metadata: {labels: {app: soak}, annotations: {soak: {{ .Values.value | quote }}}}
    spec:
      serviceAccountName: soak
      containers: [{name: main, image: soak.example.com/web}]
""",
}
_FIXED: Final = (
    ("v1", "serviceaccounts", "soak"),
    ("v1", "services", "soak"),
    ("apps/v1", "deployments", "soak"),
    (f"{GROUP}/v1", "gadgets", "soak"),
)
RESOURCES: Final = (
    ("v1", "configmaps"),
    *((version, plural) for version, plural, _ in _FIXED),
    ("batch/v1", "jobs"),
)
"""What the chart can make in a namespace: API versions and plural names."""
_KINDS: Final = {
    "configmaps": "_ConfigMap",
    "serviceaccounts": "_ServiceAccount",
    "services": "_Service",
    "deployments": "apps_Deployment",
    "gadgets": f"{GROUP}_Gadget",
}


def files(version: str) -> dict[str, str]:
    """Return a version of the chart, by paths in the repository."""
    head = dump({"apiVersion": "v2", "name": "soak", "version": version})
    return {f"chart/{path}": text for path, text in {"Chart.yaml": head, **_FILES}.items()}


def values(value: str, names: list[str], *, fails: bool = False) -> dict[str, Any]:
    """Return values: what every object is to say, which ConfigMaps there are, how it ends."""
    return {"value": value, "names": names, "post": {"phase": "Failed" if fails else ""}}


def objects(names: list[str]) -> set[tuple[str, str]]:
    """Return what a release leaves in its namespace: plural names and names."""
    return {("configmaps", name) for name in names} | {(plural, name) for _, plural, name in _FIXED}


def inventory(namespace: str, names: list[str]) -> set[str]:
    """Return the ids of a release's inventory."""
    own = {f"{namespace}_{name}_{_KINDS[plural]}" for plural, name in objects(names)}
    return {*own, f"_gadgets.{GROUP}_apiextensions.k8s.io_CustomResourceDefinition"}
