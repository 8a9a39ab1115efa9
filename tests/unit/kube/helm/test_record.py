"""The record of a release: read as it came, written as Helm writes it."""

from __future__ import annotations

import base64
import gzip
import json

import msgspec
import pytest

from kube.helm import record

TEXT = (
    b'{"name":"demo","info":{"first_deployed":"2026-01-01T00:00:00.123456789Z","last_deployed":'
    b'"2026-01-01T00:00:00.123456789Z","description":"Install complete","status":"deployed"},'
    b'"chart":{"metadata":{"name":"demo","version":"1.2.3","appVersion":"9","apiVersion":"v2"},'
    b'"lock":null,"templates":[{"name":"templates/a.yaml","data":"YQ=="}],"values":{"half":1.50}},'
    b'"config":{"a":{"b":1e-07}},"manifest":"---\\na: \\u003cb\\u003e\\n","hooks":[{"name":"h",'
    b'"kind":"Job","path":"demo/templates/h.yaml","manifest":"kind: Job\\n","events":["test"],'
    b'"last_run":{"phase":""},"weight":-5}],"version":3,"namespace":"apps","apply_method":"ssa",'
    b'"future":{"field":1.0}}'
)


def test_a_record_tells_what_helm_wrote() -> None:
    found = record.parse(TEXT, {"owner": "helm", "status": "deployed", "team": "a"})
    assert (found.name, found.namespace, found.version) == ("demo", "apps", 3)
    assert (found.status, found.apply_method) == ("deployed", "ssa")
    assert (found.full_name, found.chart_name) == ("apps/demo.v3", "demo@1.2.3")
    assert found.chart.app_version == "9"
    assert found.config == {"a": {"b": 1e-07}}
    assert found.manifest == "---\na: <b>\n"
    assert found.labels == {"team": "a"}
    (hook,) = found.hooks
    assert (hook.name, hook.weight, hook.is_test) == ("h", -5, True)


def test_a_record_that_is_only_read_is_written_byte_for_byte() -> None:
    assert record.dump(record.parse(TEXT)) == TEXT
    assert record.dump(record.decode(record.encode(record.parse(TEXT)))) == TEXT


def test_a_new_status_changes_nothing_else() -> None:
    changed = record.dump(record.parse(TEXT).with_info(status="superseded"))
    assert changed == TEXT.replace(b'"status":"deployed"', b'"status":"superseded"')


def test_new_fields_stand_where_helm_puts_them_and_are_escaped_as_go_does() -> None:
    changed = record.parse(TEXT).changed(
        manifest="a: <&>\u2028\n", hooks=(), config=None, version=4, apply_method="csa"
    )
    assert list(json.loads(record.dump(changed))) == [
        *("name", "info", "chart", "manifest", "version", "namespace", "apply_method", "future")
    ]
    assert b'"manifest":"a: \\u003c\\u0026\\u003e\\u2028\\n","version":4' in record.dump(changed)
    assert changed.config == {}
    assert changed.hooks == ()


def test_a_hook_that_is_written_has_the_fields_of_helm() -> None:
    hook = record.Hook(
        name="h",
        kind="Job",
        path="p",
        manifest="m",
        events=("pre-install",),
        weight=1,
        delete_policies=("hook-succeeded",),
        last_run=record.Execution(started_at="2026-01-01T00:00:00Z", phase="Running"),
    )
    changed = record.parse(TEXT).changed(hooks=(hook, record.Hook(name="never")))
    assert bytes(changed.fields["hooks"]) == (
        b'[{"name":"h","kind":"Job","path":"p","manifest":"m","events":["pre-install"],'
        b'"last_run":{"started_at":"2026-01-01T00:00:00Z","phase":"Running"},"weight":1,'
        b'"delete_policies":["hook-succeeded"]},{"name":"never","last_run":{"phase":""}}]'
    )


def test_the_times_of_helm_3_that_are_empty_are_absent() -> None:
    text = TEXT.replace(b'"description"', b'"deleted":"","description"')
    assert record.parse(text).info.deleted is None
    assert b"deleted" not in msgspec.json.encode(record.parse(text).info)


def test_a_record_without_compression_is_read() -> None:
    assert record.decode(base64.b64encode(TEXT)).name == "demo"


def test_the_payload_is_what_helm_unpacks() -> None:
    assert gzip.decompress(base64.b64decode(record.encode(record.parse(TEXT)))) == TEXT


@pytest.mark.parametrize(
    "payload",
    [
        b"%%%",
        base64.b64encode(gzip.compress(TEXT)[:100]),
        base64.b64encode(b"\x1f\x8b\x08 this is no gzip at all"),
        base64.b64encode(b"no json"),
        base64.b64encode(b'{"version":1}'),
        base64.b64encode(b'{"name":"a","version":0}'),
        base64.b64encode(b'{"name":"a","version":1,"info":5}'),
        base64.b64encode(b'{"name":"a","version":1,"hooks":{}}'),
    ],
)
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(record.RecordError):
        record.decode(payload)


def test_a_record_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MAX_UNPACKED", 100)
    with pytest.raises(record.RecordError, match="too large"):
        record.decode(base64.b64encode(gzip.compress(TEXT)))


def test_secrets_have_helm_s_names() -> None:
    assert record.secret_name("demo", 12) == "sh.helm.release.v1.demo.v12"
