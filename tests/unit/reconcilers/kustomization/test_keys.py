"""What the Secret of a decryption may hold, and what is said where it holds something else."""

from __future__ import annotations

import pytest

from reconcilers.kustomization import keys
from runtime.errors import TransientError
from tests.support import encrypting

AGE = encrypting.age_key().identity
SERVICE_ACCOUNT = b'{"type": "service_account", "private_key": "hush"}'


def test_age_identities_of_several_files_and_lines_are_joined() -> None:
    other = encrypting.age_key().identity
    found = keys.of_secret(
        {"a.agekey": f"# made today\n{AGE}\n\n".encode(), "b.agekey": other.encode()}, "ns/sops"
    )
    assert found.env == {"SOPS_AGE_KEY": f"{AGE}\n{other}"}
    assert not found.needs_network


def test_post_quantum_identities_are_taken() -> None:
    text = b"AGE-SECRET-KEY-PQ-1QQQQ"
    assert keys.of_secret({"a.agekey": text}, "ns/s").env == {"SOPS_AGE_KEY": text.decode()}


@pytest.mark.parametrize(
    ("name", "value", "env"),
    [
        ("sops.vault-token", b" token\n", {"VAULT_TOKEN": "token"}),
        (
            "sops.aws-kms",
            b"aws_access_key_id: id\naws_secret_access_key: key\naws_session_token: t\n",
            {
                "AWS_ACCESS_KEY_ID": "id",
                "AWS_SECRET_ACCESS_KEY": "key",
                "AWS_SESSION_TOKEN": "t",
            },
        ),
        (
            "sops.azure-kv",
            b"tenantId: t\nclientId: c\nclientSecret: s\n",
            {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"},
        ),
        (
            "sops.azure-kv",
            b'{"tenant": "t", "appId": "c", "password": "s", "displayName": "x"}',
            {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"},
        ),
        ("sops.gcp-kms", SERVICE_ACCOUNT, {"GOOGLE_CREDENTIALS": SERVICE_ACCOUNT.decode()}),
    ],
)
def test_credentials_of_key_services_become_the_variables_of_sops(
    name: str, value: bytes, env: dict[str, str]
) -> None:
    found = keys.of_secret({name: value}, "ns/sops")
    assert found.env == env
    assert found.needs_network


def test_certificate_goes_into_a_file_and_not_into_the_environment() -> None:
    text = b"tenantId: t\nclientId: c\nclientCertificate: PEM\nclientCertificateSendChain: true\n"
    found = keys.of_secret({"sops.azure-kv": text}, "ns/sops")
    assert found.certificate == b"PEM"
    assert "PEM" not in found.env.values()
    assert found.env["AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"] == "true"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("age.agekey", b"hunter2", "line 1 is no age identity"),
        ("age.agekey", b"# nothing", "it holds no age identity"),
        ("age.agekey", b"AGE-PLUGIN-EVIL-1QQ", "line 1 is no age identity"),
        ("age.agekey", b"\xff", "it cannot be read"),
        ("sops.aws-kms", b"hunter2", "it is no mapping"),
        ("sops.aws-kms", b"aws_access_key_id: hunter2", "it needs aws_access_key_id and aws_se"),
        ("sops.azure-kv", b"clientSecret: hunter2", "it needs a clientId"),
        ("sops.azure-kv", b"{hunter2", "it cannot be read"),
        ("sops.azure-kv", b"clientId: hunter2", "it needs a clientSecret or a clientCert"),
        ("sops.gcp-kms", b"/etc/passwd", "it is no mapping"),
        ("sops.gcp-kms", b'{"type": "external_account"}', "it is no key of a service account"),
    ],
)
def test_value_that_is_no_key_is_named_and_never_quoted(
    name: str, value: bytes, problem: str
) -> None:
    with pytest.raises(TransientError) as error:
        keys.of_secret({name: value}, "ns/sops")
    head = f"failed to import '{name}' data from sops decryption Secret 'ns/sops': "
    assert error.value.message.startswith(head + problem)
    assert "hunter2" not in error.value.message


def test_digest_changes_with_every_key_and_keys_are_never_shown() -> None:
    one = keys.of_secret({"a.agekey": AGE.encode(), "b.asc": b"pgp-secret"}, "ns/sops")
    two = keys.of_secret({"a.agekey": AGE.encode(), "c.asc": b"pgp-secret"}, "ns/sops")
    assert one.digest != two.digest
    assert AGE not in repr(one)
    assert "pgp-secret" not in repr(one)


def test_other_keys_of_the_secret_are_nobodys_business() -> None:
    assert keys.of_secret({"README": b"x", "age.txt": b"y"}, "ns/sops").env == {}
