"""Normalisation against the real Go types: kubectl reads manifests into them and writes them out.

``kubectl set ... --local`` asks no server. It decodes into the structs that Flux uses and prints
what encoding them gives, which is the form that `kube.typed` has to reproduce.
"""

from __future__ import annotations

import copy
import json
import random
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from devcluster import access
from kube import quantity, typed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kube.objects import JsonObject

PROBE = "PARITY_PROBE"
WORKLOADS = [
    ("v1", "Pod"),
    ("v1", "ReplicationController"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
]
CREATED = {
    "deployment": ["web", "--image=nginx", "--port=80", "--replicas=2"],
    "job": ["j", "--image=busybox", "--", "date"],
    "cronjob": ["c", "--image=busybox", "--schedule=* * * * *", "--", "date"],
    "configmap": ["c", "--from-literal=a=1"],
    "secret": ["generic", "s", "--from-literal=a=1"],
    "service": ["clusterip", "s", "--tcp=80:8080"],
    "serviceaccount": ["s"],
    "namespace": ["n"],
    "quota": ["q", "--hard=cpu=1500m,memory=2048Mi"],
    "ingress": ["i", "--rule=example.com/*=svc:80,tls=cert"],
    "poddisruptionbudget": ["p", "--selector=a=b", "--min-available=1"],
    "priorityclass": ["p", "--value=10"],
    "rolebinding": ["r", "--role=x", "--user=me"],
    "clusterrolebinding": ["r", "--clusterrole=x", "--serviceaccount=a:b"],
}
MERGE_KEYS = {
    "name",
    "containerPort",
    "mountPath",
    "devicePath",
    "ip",
    "topologyKey",
    "uid",
    "type",
}
"""What kubectl needs in the members of lists, to say what it changed."""
SCALARS: dict[str, list[object]] = {
    "string": ["", "text", "TCP", "0"],
    "bool": [True, False],
    "int": [0, 1, -1, 2**31 - 1],
    "float": [0, 1.5],
    "bytes": ["", "aGVsbG8=", "YWI="],
    "quantity": ["0", "1", "100m", "1000m", "0.5", "1.500", "1024Mi", "1.5Gi", "3e3", "+5", 2, 0.1],
    "intstr": ["http", "", 0, 8080],
    "time": ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05+02:00"],
    "microtime": ["2026-01-02T03:04:05.000001Z"],
    "any": [{"a": 1}],
}


def kubectl(*arguments: str, given: str = "") -> list[JsonObject]:
    answer = subprocess.run(
        [access.program("kubectl"), *arguments, "-o", "json"],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return list(documents(answer.stdout))


def documents(text: str) -> Iterator[JsonObject]:
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:]


def without_probe(value: Any) -> Any:
    """Remove what ``kubectl set env`` added."""
    if isinstance(value, dict):
        result = {key: without_probe(each) for key, each in value.items()}
        return {key: each for key, each in result.items() if key != "env" or each}
    if isinstance(value, list):
        return [without_probe(each) for each in value if each != {"name": PROBE, "value": "1"}]
    return value


def rewritten(obj: JsonObject) -> JsonObject:
    result = copy.deepcopy(obj)
    assert typed.round_trip(result) is not None
    return result


class Maker:
    """Makes random manifests that fit a kind of the table."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def manifest(self, api_version: str, kind: str) -> JsonObject:
        obj = self._struct(f"{api_version}.{kind}", 0)
        obj.pop("status", None)
        obj["spec"] = self._spec(api_version, kind)
        return obj | {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}}

    def _spec(self, api_version: str, kind: str) -> JsonObject:
        fields = dict(self._fields(f"{api_version}.{kind}"))
        spec = self._value(fields["spec"].removeprefix("*"), 0)
        inner: JsonObject = spec
        if kind == "CronJob":
            inner = spec["jobTemplate"] = {"spec": {}}
            inner = inner["spec"]
        if kind != "Pod":
            inner["template"] = {"spec": {}}
            inner = inner["template"]["spec"]
        inner.update(self._struct("v1.PodSpec", 0))
        inner["containers"] = [self._struct("v1.Container", 0) | {"name": "a"}]
        return dict(spec)

    def _fields(self, name: str) -> Iterator[tuple[str, str]]:
        line = typed._line(name)
        assert line is not None, name
        for each in line.split():
            field, _, kind = each.partition(":")
            yield field.rstrip("?!"), kind

    def _struct(self, name: str, depth: int) -> JsonObject:
        chance = 0.6 if depth < 3 else 0.25
        obj = {
            field: self._key(kind) if field in MERGE_KEYS else self._value(kind, depth + 1)
            for field, kind in self._fields(name)
            if field in MERGE_KEYS or (self._rng.random() < chance and depth < 7)
        }
        for field in obj.keys() - MERGE_KEYS:
            if self._rng.random() < 0.05:
                obj[field] = None
        if self._rng.random() < 0.1:
            obj["notAField"] = {"x": [1]}
        return obj

    def _key(self, kind: str) -> Any:
        number = self._rng.randint(1, 10**9)
        return number if kind == "int" else f"n{number}"

    def _value(self, kind: str, depth: int) -> Any:
        if kind.startswith("*"):
            return self._value(kind[1:], depth)
        number = self._rng.randint(0, 2)
        if kind.startswith("[]"):
            return [self._value(kind[2:], depth) for _ in range(number)]
        if kind.startswith("{}"):
            return {f"k{each}": self._value(kind[2:], depth) for each in range(number)}
        if kind in SCALARS:
            return self._rng.choice(SCALARS[kind])
        return self._struct(kind, depth)


@pytest.mark.parametrize(("api_version", "kind"), WORKLOADS)
def test_random_workloads_are_written_as_go_writes_them(api_version: str, kind: str) -> None:
    maker = Maker(seed=sum(map(ord, kind)))
    manifests = [maker.manifest(api_version, kind) for _ in range(40)]
    given = "\n---\n".join(json.dumps(each) for each in manifests)
    answers = kubectl("set", "env", "--local", "-f", "-", f"{PROBE}=1", given=given)
    assert len(answers) == len(manifests)
    for manifest, answer in zip(manifests, answers, strict=True):
        ours = rewritten(manifest)
        # An env that is empty but given disappears for both, and so does the probe's.
        assert without_probe(ours) == without_probe(answer), json.dumps(manifest)


@pytest.mark.parametrize("what", CREATED)
def test_empty_fields_that_go_writes_come_back(what: str) -> None:
    (complete,) = kubectl("create", what, *_options(what), "--dry-run=client")
    assert rewritten(_without_empty(complete)) == complete


def test_services_are_written_as_go_writes_them() -> None:
    maker = Maker(seed=3)
    for _ in range(5):
        obj = maker.manifest("v1", "Pod") | {"kind": "Service", "spec": {}}
        obj["spec"] = maker._struct("v1.ServiceSpec", 0) | {"selector": {"a": "b"}}
        (answer,) = kubectl("set", "selector", "--local", "-f", "-", "a=b", given=json.dumps(obj))
        assert rewritten(obj) == answer


def test_random_quantities_are_written_as_go_writes_them() -> None:
    given = list(dict.fromkeys(_quantities(random.Random(11), 3000)))
    limits = {f"k{number}": each for number, each in enumerate(given)}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {}}
    pod["spec"] = {"containers": [{"name": "a", "resources": {"limits": limits}}]}
    (answer,) = kubectl("set", "env", "--local", "-f", "-", f"{PROBE}=1", given=json.dumps(pod))
    written = answer["spec"]["containers"][0]["resources"]["limits"]
    differences = {
        text: (quantity.canonical(text), written[key])
        for key, text in limits.items()
        # Go loses the magnitude of what is beyond exa; a typing error is left for people to see.
        if quantity.canonical(text) != written[key] and not text.endswith(("000E", "000.E"))
    }
    assert differences == {}


def _quantities(rng: random.Random, number: int) -> Iterator[str]:
    suffixes = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
    suffixes += ["e3", "E2", "e-3", "e+1", "e0"]
    for _ in range(number):
        digits = rng.choice([1, 2, 3, 4, 9, 17, 18, 19])
        whole = str(rng.randint(0, 10**digits)) + "0" * rng.choice([0, 0, 3])
        places = rng.choice(
            ["", "", ".", ".5", ".500", f".{rng.randint(0, 10 ** rng.randint(1, 12))}"]
        )
        whole = rng.choice([whole, str(2 ** rng.randint(0, 40)), "0" + whole])
        yield rng.choice(["", "", "-", "+"]) + whole + places + rng.choice(suffixes)


def _options(what: str) -> list[str]:
    options = list(CREATED[what])
    if "--" in options:  # what follows is the command of the container
        options.insert(options.index("--"), "--dry-run=client")
        options.insert(options.index("--"), "--output=json")
    return options


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in ({}, None)}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value
