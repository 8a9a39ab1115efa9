"""Which texts and objects count as encrypted, and into which format they are opened."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from reconcilers.kustomization import sealed

YAML = b"a: ENC[AES256_GCM,data:x]\nsops:\n    mac: ENC[AES256_GCM,data:y]\n"
JSON = b'{"a": "ENC[x]", "sops": {"mac": "ENC[AES256_GCM,data:y]"}}'
WRAPPED = b'{"data": "ENC[x]", "sops": {"mac": "ENC[AES256_GCM,data:y]"}}'
DOTENV = b"a=ENC[x]\nsops_mac=ENC[AES256_GCM,data:y]\n"
INI = b"[a]\nb = ENC[x]\n\n[sops]\nmac = ENC[AES256_GCM,data:y]\n"


@pytest.mark.parametrize(
    ("content", "name", "formats"),
    [
        (YAML, "a.yaml", ("yaml", "yaml")),
        (YAML, "a.yml", ("yaml", "yaml")),
        (YAML, "token", ("yaml", "yaml")),
        (YAML, "a.json", ("yaml", "json")),
        (JSON, "a.json", ("json", "json")),
        (JSON, "a.yaml", ("json", "yaml")),
        (JSON, ".dockerconfigjson", ("json", "json")),
        (WRAPPED, "id_ed25519", ("binary", "binary")),
        (WRAPPED, "a.json", ("json", "json")),
        (DOTENV, ".env", ("dotenv", "dotenv")),
        (DOTENV, "vars", ("dotenv", "dotenv")),
        (INI, "a.ini", ("ini", "ini")),
    ],
)
def test_marker_and_name_decide_the_formats(
    content: bytes, name: str, formats: tuple[str, str]
) -> None:
    found = sealed.of_text(content, name)
    assert found is not None
    assert (found.source, found.target) == formats
    assert found.is_whole


@pytest.mark.parametrize(
    "content", [b"", b"plain: text", b"[sops]\nx = y", b"# mac: ENC[", b"\xff\xfe", b"text ENC["]
)
def test_text_without_a_marker_is_left_alone(content: bytes) -> None:
    assert sealed.of_text(content, "a.yaml") is None


def secret(**data: bytes | str) -> dict[str, Any]:
    values = {
        key: value if isinstance(value, str) else base64.b64encode(value).decode()
        for key, value in data.items()
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": values}


def test_only_the_encrypted_values_of_a_secret_count() -> None:
    found = sealed.of_values(secret(a=YAML, b=b"plain", c="no base64!", d=WRAPPED))
    assert set(found) == {"a", "d"}
    assert sealed.of_values(secret(a=YAML) | {"kind": "ConfigMap"}) == {}


def test_object_of_any_kind_with_a_block_counts_as_a_whole() -> None:
    obj = {"apiVersion": "x.io/v1", "kind": "Foo", "metadata": {"name": "a"}}
    assert sealed.of_object(obj) is None
    assert sealed.of_object(obj | {"sops": {"version": "3"}}) is None
    found = sealed.of_object(obj | {"sops": {"mac": "ENC[x]"}})
    assert found is not None
    assert not found.is_whole


@pytest.mark.parametrize(("value", "kept"), [("disabled", True), ("Disabled", True), ("x", False)])
def test_annotation_keeps_an_object_encrypted_in_any_letter_case(value: str, *, kept: bool) -> None:
    key = "kustomize.toolkit.fluxcd.io/decrypt"
    assert sealed.is_kept({"metadata": {"annotations": {key: value}}}) is kept


def test_encrypted_content_is_never_shown() -> None:
    assert "ENC[" not in repr(sealed.of_text(YAML, "a.yaml"))
