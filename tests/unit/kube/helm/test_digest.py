"""Flux's digests, byte for byte: what is equal here upgrades nothing when a cluster moves."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import orjson
import pytest

from api.helm import KustomizeRenderer, PostRenderer
from api.kustomize import CommonMetadata, Image, Patch, Selector
from kube.helm import digest, record

WHOLE = (
    b'{"name":"demo","version":4,"info":{"first_deployed":"2026-11-23T03:19:08.934303824Z",'
    b'"last_deployed":"2026-11-23T03:19:56.074730893Z","description":"Upgrade complete",'
    b'"status":"deployed"},"chartMetadata":{"name":"demo","version":"0.1.0",'
    b'"description":"demo \\u003cchart\\u003e \\u0026 test","apiVersion":"v2","appVersion":"1.0"},'
    b'"config":{"msg":"two"},"manifest":"---\\n# Source: demo/templates/cm.yaml\\napiVersion: v1\\n'
    b"kind: ConfigMap\\nmetadata:\\n  name: demo-cm\\n  labels:\\n    helm.sh/chart: demo-0.1.0\\n"
    b'data:\\n  msg: \\"two\\"\\n  ns: target\\n  rev: \\"4\\"\\n\\n","hooks":[{"name":"demo-pre",'
    b'"kind":"ConfigMap","path":"demo/templates/pre.yaml","manifest":"apiVersion: v1\\n'
    b"kind: ConfigMap\\nmetadata:\\n  name: demo-pre\\n  annotations:\\n    helm.sh/hook: "
    b'pre-install,pre-upgrade\\ndata: {a: b}\\n","events":["pre-install","pre-upgrade"],'
    b'"last_run":{"started_at":"2026-11-23T03:19:56.654921376Z","completed_at":'
    b'"2026-11-23T03:19:56.84224198Z","phase":"Succeeded"},"delete_policies":'
    b'["before-hook-creation"]}],"namespace":"target"}'
)
"""What Flux digested of a release, as measured on the real controller."""
DIGEST = "sha256:e614e4f8323c7f3f1c311790ede6d534b197dbfead36cf558f937989d8152b26"
NO_VALUES = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def stored(**changes: Any) -> record.Record:
    """Return the record that this text is of, as Helm stores it."""
    fields = msgspec.json.decode(WHOLE, type=dict[str, msgspec.Raw])
    metadata = bytes(fields.pop("chartMetadata"))
    chart = b'{"metadata":%b,"lock":null,"templates":[],"values":{"msg":"one"}}' % metadata
    fields["chart"] = msgspec.Raw(chart)
    fields["apply_method"] = msgspec.Raw(b'"ssa"')
    made = record.parse(msgspec.json.encode(fields), {"owner": "helm", "name": "demo"})
    return made.changed(**changes) if changes else made


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, NO_VALUES),
        (
            {"foo": "bar"},
            "sha256:1dabc4e3cbbd6a0818bd460f3a6c9855bfe95d506c74726bc0f2edb0aecb1f4e",
        ),
        (
            {"msg": "two"},
            "sha256:d89d8d9fa87f30a7345c47bd2a2c0fbcc30348f3e6651abff2f90d3ef383dc2f",
        ),
        (
            {"b": 1, "a": {"d": 2.5, "c": [1, "two", None, True, {"true": 2, "z": 1}]}},
            "sha256:01b30a3555d52f49820639e55505347983bdec77ac0d61596e145e37f78feb0a",
        ),
        (
            {"multi": "#!/bin/sh\necho hi\n  indented\n\nend\n"},
            "sha256:00fe05ef422916ffd40bf282951def00cb3f44100ea33fa6bdd01035bb524032",
        ),
        (
            {"trail": "a\n\n"},
            "sha256:c11209047d5b01f1ccc33c535681aa0115ccaa9f479332511ceb969e6037f713",
        ),
        (
            {"lead": "  x\ny"},
            "sha256:cd41a3c732cd8725b9219a9223506e5b5cd342830e84ea785e7a03caf4c79476",
        ),
        (
            {"crlf": "a\r\nb"},
            "sha256:d7e26612819481d9c296d2b5a70ac2346d953c3d1416b5e24f659b53c3125b01",
        ),
        (
            {"1": "x", "A": 3, "Ab": 1, "a.b/c": 1, "aa": 2, "true": True},
            "sha256:b5de128758df06971c51ab49d7692e71b9c239a619138d9b8eb36d59efdcfcff",
        ),
        (
            orjson.loads(
                b'{"big": 12345678901234567890, "exp": 1e-7, "f": 1e21, "g": 1.0, "h": 0.1, '
                b'"i": 1000000, "i53": 9007199254740993, "mid": 123456789.125, "neg": -3}'
            ),
            "sha256:abf8e59e09bfb37f12161e4bdf667e4515fc5cb30d6c7ac3d75ae5094b28f91e",
        ),
    ],
)
def test_values_have_the_digest_that_flux_gives_them(values: dict[str, Any], wanted: str) -> None:
    assert digest.of_values(values) == wanted


def test_a_record_has_the_digest_that_flux_gives_it() -> None:
    assert digest.of_record(stored()) == DIGEST


def test_an_oci_artifact_is_part_of_the_digest() -> None:
    wanted = "sha256:974ed4363c8de8573d204d41f1ff211839f987c46ac221caec84c1fe8b802b10"
    assert digest.of_record(stored(), "sha256:abc") == wanted


def test_a_digest_outlives_storage() -> None:
    again = record.decode(record.encode(stored()), {"status": "deployed"})
    assert digest.of_record(again) == DIGEST


def test_tests_and_the_way_of_applying_are_no_part_of_the_digest() -> None:
    tests = record.Hook(name="check", kind="Pod", path="t.yaml", events=("test",))
    changed = stored(hooks=(*stored().hooks, tests), apply_method="csa")
    assert digest.of_record(changed) == DIGEST


def test_the_status_is_part_of_the_digest() -> None:
    assert digest.of_record(stored().with_info(status="superseded")) != DIGEST


def test_hooks_that_never_ran_are_written_as_helm_4_writes_them() -> None:
    never = b'[{"name":"h","events":["pre-install"],"last_run":{"phase":""}}]'
    helm_3 = never.replace(b'{"phase"', b'{"started_at":"","completed_at":"","phase"')
    fields = dict(stored().fields)
    both = [record.Record(fields | {"hooks": msgspec.Raw(text)}) for text in (never, helm_3)]
    assert digest.of_record(both[0]) == digest.of_record(both[1])
    whole = WHOLE[: WHOLE.index(b'"hooks":')] + b'"hooks":' + never + b',"namespace":"target"}\n'
    assert digest.of_record(both[0]) == f"sha256:{hashlib.sha256(whole).hexdigest()}"


def test_a_release_without_values_and_hooks_has_nulls() -> None:
    whole = WHOLE[: WHOLE.index(b'"hooks":')] + b'"hooks":null,"namespace":"target"}\n'
    whole = whole.replace(b'{"msg":"two"}', b"null")
    wanted = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert digest.of_record(stored(hooks=(), config=None)) == wanted
    assert digest.of_record(stored(hooks=()).changed(config={})) == wanted


def test_common_metadata_has_the_digest_that_flux_gives_it() -> None:
    metadata = CommonMetadata(annotations={"b": "1", "a": "2"}, labels={"x": "<y>"})
    wanted = "sha256:da611c353af267814f802edc2eddc94c067f10ec3c4ee73a8c84d10d4b41707a"
    assert digest.of_common_metadata(metadata) == wanted
    assert digest.of_common_metadata(None) == ""


def test_post_renderers_are_digested_in_the_order_of_flux_s_types() -> None:
    patch = Patch(patch="- op: add", target=Selector(kind="Deployment", name="a&b"))
    image = Image(name="app", new_name="mine", new_tag="2", digest="sha256:1")
    renderers = [PostRenderer(kustomize=KustomizeRenderer(patches=(patch,), images=(image,)))]
    text = (
        b'[{"kustomize":{"patches":[{"patch":"- op: add","target":{"kind":"Deployment",'
        b'"name":"a\\u0026b"}}],"images":[{"name":"app","newName":"mine","newTag":"2",'
        b'"digest":"sha256:1"}]}}]\n'
    )
    wanted = f"sha256:{hashlib.sha256(text).hexdigest()}"
    assert digest.of_post_renderers(renderers) == wanted
    assert digest.of_post_renderers([]) == ""
