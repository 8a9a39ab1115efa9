from __future__ import annotations

import pytest

from inspection import masking

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db"},
    "data": {"password": "Z2VoZWlt"},
    "stringData": {"user": "geheim"},
}


def test_every_value_of_a_secret_is_masked() -> None:
    shown = masking.document(SECRET)

    assert shown["data"] == {"password": "***"}
    assert shown["stringData"] == {"user": "***"}


def test_copy_that_kubectl_keeps_is_left_out() -> None:
    copy = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"a":"b"}}'}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"annotations": copy | {"k": "v"}}}

    assert masking.document(obj)["metadata"]["annotations"] == {"k": "v"}


@pytest.mark.parametrize(
    "name",
    ["password", "adminPassword", "DB_PASSWORD", "apiKey", "token", "accessToken", "clientSecret"],
)
def test_value_under_a_telling_name_is_masked(name: str) -> None:
    assert masking.tree({name: "geheim"}) == {name: "***"}
    assert masking.tree([{"name": name, "value": "geheim"}]) == [{"name": name, "value": "***"}]


@pytest.mark.parametrize(
    "name",
    ["secretName", "secretRef", "passwordSecretName", "tokenPath", "key", "username", "monkey"],
)
def test_name_that_only_leads_to_a_secret_is_shown(name: str) -> None:
    assert masking.tree({name: "shown"}) == {name: "shown"}


def test_structure_under_a_telling_name_is_kept() -> None:
    value = {"credentials": {"password": "geheim", "from": "vault"}, "enabledToken": True}

    assert masking.tree(value) == {
        "credentials": {"password": "***", "from": "vault"},
        "enabledToken": True,
    }


@pytest.mark.parametrize(
    "text",
    [
        "fetching https://me:geheim@example.com/x.git",
        "Authorization: Bearer geheimgeheimgeheim",
        "token ghp_geheimgeheimgeheimgeheimgeheim12 used",
        "-----BEGIN RSA PRIVATE KEY-----\ngeheim\n-----END RSA PRIVATE KEY-----",
        "postgres://db/x?password=geheim&sslmode=off",
    ],
)
def test_credentials_in_a_text_are_masked_by_their_form(text: str) -> None:
    assert "geheim" not in masking.text(text)
    assert "***" in masking.text(text)


def test_ordinary_log_lines_are_left_alone() -> None:
    line = "2026-01-02 GET /token?page=2 200 https://example.com/a@b key=value"
    assert masking.text(line) == line


def test_arguments_of_a_call_are_logged_without_manifests() -> None:
    given = {"yaml_content": "kind: Secret", "overwrite": True, "name": "x", "token": "geheim"}

    assert masking.arguments(given) == {
        "yaml_content": "(12 characters)",
        "overwrite": True,
        "name": "x",
        "token": "***",
    }


@pytest.mark.parametrize(
    "path",
    [
        "data.DB_PASSWORD",
        "spec.values.adminPassword",
        "spec.template.spec.containers[name=web].env[name=API_TOKEN].value",
        "spec.auth.clientSecret",
        'data["db.password"]',
        "spec.tokens[0].apiKey",
    ],
)
def test_value_of_a_changed_field_is_masked_by_its_path(path: str) -> None:
    assert masking.member(path, "geheim") == "***"


@pytest.mark.parametrize(
    "path",
    [
        "data.k",
        "spec.replicas",
        "spec.template.spec.containers[name=web].env[name=LOG_LEVEL].value",
        "spec.secretRef.name",
        "spec.passwordPolicy",
        "value",
    ],
)
def test_value_of_another_field_is_shown(path: str) -> None:
    assert masking.member(path, "info") == "info"


def test_whole_of_an_added_variable_is_masked_inside() -> None:
    added = [{"name": "API_TOKEN", "value": "geheim"}, {"name": "LOG_LEVEL", "value": "info"}]

    assert masking.member("spec.containers[name=web].env", added) == [
        {"name": "API_TOKEN", "value": "***"},
        {"name": "LOG_LEVEL", "value": "info"},
    ]
