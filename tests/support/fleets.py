"""Whole fleets as people keep them in Git, and what a cluster shows once they are applied.

A fleet is a folder: ``kustomizations.yaml`` maps names to specs, ``repo`` is the repository,
``then`` holds the files of a second push, of which empty ones are deleted. ``NAMESPACE`` in them
stands for the fleet's namespace, and files called ``*.sealed.yaml`` are encrypted before they are
pushed. ``expected.json`` is what Flux's own controllers showed after each push: source-controller
1.9.1 and kustomize-controller 1.9.4, of Flux 2.9, on Kubernetes 1.36.3, outside the cluster and
with their default settings but ``--requeue-dependency=2s``. `tests.parity.record` wrote it.

A `Fleet` is run through the API server and a Git server alone, so it serves any reconciler.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from api import meta
from devcluster.api import condition, describe
from kube import ownership
from kube.objects import GVK, ObjectId
from tests.support import api, encrypting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devcluster.api import Api
    from devcluster.gitserver import GitServer
    from kube.objects import JsonObject

STAGES = ("repo", "then")
"""The pushes, by their folders."""
AGE = encrypting.age_key()
_SOURCE = "repo"
_TIMES = re.compile(r"\b\d+(\.\d+)?(ms|µs|s)\b")
_TRANSIENT = frozenset({meta.DEPENDENCY_NOT_READY})
"""Reasons of events that are told or not, as things happen to overlap."""
_UNDECIDED = frozenset({meta.DEPENDENCY_NOT_READY, meta.PROGRESSING})
"""Reasons for which a Kustomization that is not Ready has yet to be applied."""
_FOLDERS = re.compile(r"/\S*/kustomization-\d+/")
"""Where a controller unpacks an artifact."""
_STRANGERS = frozenset({"kube-controller-manager", "kube-apiserver", "unknown"})
"""Managers that say nothing about the reconciler; the last is who sends no name, such as `Api`."""


class Fleet:
    """One fleet in a namespace of its own.

    Args:
        folder: of the fleet.
        connection: an administrator's, to the cluster.
        git: where the repository is.
    """

    def __init__(self, folder: Path, connection: Api, git: GitServer) -> None:
        self.folder = folder
        self.namespace = f"parity-{folder.name}"
        self._api = connection
        self._repo = git.repo(folder.name)
        self._url = git.url(folder.name)
        self._specs: dict[str, JsonObject] = yaml.safe_load(
            self._filled(folder / "kustomizations.yaml")
        )
        self._told: set[str] = set()
        self._earlier: list[str] = []
        self._kinds: dict[GVK, JsonObject] = {}

    @property
    def stages(self) -> list[str]:
        """The pushes that this fleet has."""
        return [each for each in STAGES if (self.folder / each).is_dir()]

    @property
    def revision(self) -> str:
        """What is pushed, as an artifact's revision."""
        return f"main@sha1:{self._repo.head}"

    def push(self, stage: str) -> None:
        """Push the files of a stage, and let the source know; the first creates all objects."""
        folder = self.folder / stage
        files = {str(each.relative_to(folder)): self._content(each) for each in _files(folder)}
        if stage != STAGES[0]:
            self._earlier.append(self.revision)
        gone = [path for path, text in files.items() if not text]
        kept = {path: text for path, text in files.items() if text}
        self._repo.push(kept, delete=gone, message=f"Push {stage}")
        if stage == STAGES[0]:
            self._create()
        else:
            asked = {"metadata": {"annotations": {meta.REQUESTED_AT: uuid.uuid4().hex}}}
            self._api.patch(self._source, asked)
        self._api.wait(self._source, self._is_fetched, api.WAIT_S)
        if stage == STAGES[0]:
            for name, spec in self._specs.items():
                self._put("kustomize", "kustomizations", "Kustomization", name, _DEFAULTS | spec)

    def is_settled(self) -> bool:
        """Whether every Kustomization was applied at the last revision, or refused."""
        return all(self._is_done(self._api.get(self._kustomization(name))) for name in self._specs)

    def described(self) -> str:
        """Return the conditions of every Kustomization, for who waits in vain."""
        return "\n".join(
            f"{name}: {describe(self._api.get(self._kustomization(name)))}" for name in self._specs
        )

    def shown(self) -> JsonObject:
        """Return conditions, inventories, events and objects, without what differs at each run.

        Events are those since `turned`.
        """
        items = {name: self._api.get(self._kustomization(name)) or {} for name in self._specs}
        source = self._api.get(self._source) or {}
        entries = [entry for item in items.values() for entry in _inventory(item)]
        artifact = source["status"]["artifact"]
        found = {
            "source": _flux_object(source) | {"artifact": artifact["revision"]},
            "kustomizations": {name: _kustomization(item) for name, item in items.items()},
            "events": self._events(),
            "objects": dict(self._object(entry) for entry in entries),
        }
        text = orjson.dumps(found).decode()
        for value, name in (
            (self.revision, "REVISION"),
            *((each, "EARLIER") for each in self._earlier),
            (artifact["digest"], "DIGEST"),
            (self.namespace, "NAMESPACE"),
        ):
            text = text.replace(value, name)
        shown: JsonObject = orjson.loads(_FOLDERS.sub("", _TIMES.sub("TIME", text)))
        return shown

    def turned(self) -> None:
        """Begin another stage: what was told so far is not shown again."""
        self._told.update(each["metadata"]["uid"] for each in self._all_events())

    def end(self) -> list[str]:
        """Delete all Flux objects; return the objects of the inventories that stayed."""
        items = [self._api.get(self._kustomization(name)) or {} for name in self._specs]
        entries = [entry for item in items for entry in _inventory(item)]
        for name in _dependants_first(self._specs):
            self._api.delete(self._kustomization(name))
            self._api.wait(self._kustomization(name), lambda obj: obj is None, api.WAIT_S)
        left = [entry["id"] for entry in entries if self._stays(entry)]
        self._api.delete(self._source)
        self._api.wait(self._source, lambda obj: obj is None, api.WAIT_S)
        return [each.replace(self.namespace, "NAMESPACE") for each in left]

    @property
    def _source(self) -> str:
        return f"{_flux('source', self.namespace)}/gitrepositories/{_SOURCE}"

    def _kustomization(self, name: str) -> str:
        return f"{_flux('kustomize', self.namespace)}/kustomizations/{name}"

    def _create(self) -> None:
        self._api.post("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        secret = {"metadata": {"name": "sops"}, "stringData": {"age.agekey": AGE.identity}}
        self._api.post(f"/api/v1/namespaces/{self.namespace}/secrets", secret)
        spec = {"url": self._url, "interval": "1h", "ref": {"branch": "main"}}
        self._put("source", "gitrepositories", "GitRepository", _SOURCE, spec)

    def _put(self, group: str, plural: str, kind: str, name: str, spec: JsonObject) -> None:
        body = {
            "apiVersion": f"{group}.toolkit.fluxcd.io/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }
        self._api.post(f"{_flux(group, self.namespace)}/{plural}", body)

    def _filled(self, path: Path) -> str:
        return path.read_text().replace("NAMESPACE", self.namespace)

    def _content(self, path: Path) -> str:
        text = self._filled(path)
        return encrypting.seal(text, AGE) if path.name.endswith(".sealed.yaml") else text

    def _is_fetched(self, source: JsonObject | None) -> bool:
        artifact = (source or {}).get("status", {}).get("artifact", {})
        return bool(artifact.get("revision") == self.revision)

    def _is_done(self, item: JsonObject | None) -> bool:
        ready = condition(item)
        status = (item or {}).get("status", {})
        if ready.get("status") == "True":
            return bool(status.get("lastAppliedRevision") == self.revision)
        if ready.get("status") != "False" or ready["reason"] in _UNDECIDED:
            return False
        # A path that is not there is no attempt.
        is_attempt = ready["reason"] != meta.ARTIFACT_FAILED
        return not is_attempt or bool(status.get("lastAttemptedRevision") == self.revision)

    def _all_events(self) -> list[JsonObject]:
        path = f"/api/v1/namespaces/{self.namespace}/events"
        items: list[JsonObject] = (self._api.get(path) or {})["items"]
        return sorted(items, key=lambda each: int(each["metadata"]["resourceVersion"]))

    def _events(self) -> dict[str, list[JsonObject]]:
        found: dict[str, list[JsonObject]] = {name: [] for name in (_SOURCE, *self._specs)}
        for each in self._all_events():
            is_new = each["metadata"]["uid"] not in self._told
            name = each["involvedObject"]["name"]
            if is_new and name in found and each["reason"] not in _TRANSIENT:
                found[name].append(_event(each))
        return found

    def _object(self, entry: JsonObject) -> tuple[str, JsonObject]:
        live = self._api.get(self._path(entry))
        if live is None:
            return entry["id"], {}
        metadata = ownership.read(orjson.dumps(live))
        ours = ownership.apply_entry(metadata, meta.KUSTOMIZE_MANAGER)
        fields = orjson.loads(bytes(ours.fields_v1)) if ours else {}
        shown = {"managers": _managers(live), "fields": dict(_values(fields, live, ""))}
        return str(ObjectId.parse(entry["id"])), shown

    def _stays(self, entry: JsonObject) -> bool:
        live = self._api.get(self._path(entry))
        return live is not None and "deletionTimestamp" not in live["metadata"]

    def _path(self, entry: JsonObject) -> str:
        parsed = ObjectId.parse(entry["id"])
        gvk = GVK(parsed.group, entry["v"], parsed.kind)
        root = f"/apis/{gvk.api_version}" if parsed.group else f"/api/{entry['v']}"
        if gvk not in self._kinds:
            resources = (self._api.get(root) or {"resources": []})["resources"]
            self._kinds[gvk] = next(
                each for each in resources if each["kind"] == gvk.kind and "/" not in each["name"]
            )
        resource = self._kinds[gvk]
        namespace = f"/namespaces/{parsed.namespace}" if resource["namespaced"] else ""
        return f"{root}{namespace}/{resource['name']}/{parsed.name}"


_DEFAULTS = {
    "interval": "1h",
    "prune": True,
    "sourceRef": {"kind": "GitRepository", "name": _SOURCE},
}


def _flux(group: str, namespace: str) -> str:
    return f"/apis/{group}.toolkit.fluxcd.io/v1/namespaces/{namespace}"


def _dependants_first(specs: dict[str, JsonObject]) -> list[str]:
    """Return the names so that each is gone before what it depends on, such as its rights."""
    needed = {name: [each["name"] for each in specs[name].get("dependsOn", ())] for name in specs}
    found: list[str] = []
    while needed:
        free = [name for name in needed if not any(name in each for each in needed.values())]
        found += free
        needed = {name: needed[name] for name in needed if name not in free}
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())


def _inventory(item: JsonObject) -> list[JsonObject]:
    inventory = item.get("status", {}).get("inventory") or {}
    entries: list[JsonObject] = inventory.get("entries", [])
    return entries


def _flux_object(item: JsonObject) -> JsonObject:
    """Return what all of Flux's kinds show."""
    return {
        "conditions": [
            f"{each['type']}={each['status']} {each['reason']}: {each['message']}"
            f" (of generation {each['observedGeneration']})"
            for each in item["status"]["conditions"]
        ],
        "finalizers": item["metadata"]["finalizers"],
        "managers": sorted(_managers(item)),
        "observedGeneration": item["status"].get("observedGeneration"),
    }


def _kustomization(item: JsonObject) -> JsonObject:
    status = item["status"]
    history = status.get("history", [])
    builds = list(dict.fromkeys(each["digest"] for each in reversed(history)))
    return _flux_object(item) | {
        "inventory": [f"{each['id']} {each['v']}" for each in _inventory(item)],
        "history": [
            f"{each['lastReconciledStatus']} of build {builds.index(each['digest']) + 1}"
            f" {each['metadata']}"
            for each in history
        ],
        "lastAppliedRevision": status.get("lastAppliedRevision", ""),
        "lastAttemptedRevision": status.get("lastAttemptedRevision", ""),
    }


def _event(event: JsonObject) -> JsonObject:
    return {
        "says": f"{event['type']} {event['reason']}: {event['message']}",
        "annotations": event["metadata"].get("annotations", {}),
        "component": event["source"]["component"],
        "about": "{apiVersion} {kind}".format(**event["involvedObject"]),
    }


def _managers(obj: JsonObject) -> list[str]:
    """Return who manages fields of an object, how, and of which subresource."""
    entries = obj["metadata"].get("managedFields", [])
    return [
        " ".join(filter(None, (each["manager"], each["operation"], each.get("subresource"))))
        for each in entries
        if each["manager"] not in _STRANGERS
    ]


def _values(fields: JsonObject, value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield path and value of each leaf of a ``fieldsV1`` tree."""
    below = [key for key in sorted(fields) if key != "."]
    if not below:
        yield path, value
    for key in below:
        mark, _, text = key.partition(":")
        if mark == "f":
            yield from _values(fields[key], value.get(text), f"{path}.{text}".lstrip("."))
        elif mark == "k":
            keys = orjson.loads(text)
            member = next(each for each in value if keys.items() <= each.items())
            yield from _values(fields[key], member, f"{path}[{text}]")
        else:
            yield f"{path}[{text}]", orjson.loads(text)
