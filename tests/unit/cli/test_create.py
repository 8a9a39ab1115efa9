from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
import yaml

from cli import main

if TYPE_CHECKING:
    from pathlib import Path

PEM = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(PEM)
    return file


def exported(
    capsys: pytest.CaptureFixture[str], *argv: str, type_: str = "Opaque"
) -> dict[str, str]:
    assert main.main(["create", "secret", *argv, "--export", "-n", "apps"]) == 0
    manifest = yaml.safe_load(capsys.readouterr().out)
    assert (manifest["kind"], manifest["type"]) == ("Secret", type_)
    assert manifest["metadata"] == {"name": "fleet", "namespace": "apps"}
    content: dict[str, str] = manifest["stringData"]
    return content


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main.main(["create", "secret", *argv, "--export"]) == 2
    return capsys.readouterr().err


def test_user_and_password(capsys: pytest.CaptureFixture[str]) -> None:
    found = exported(capsys, "git", "fleet", "--username", "ada", "--password", "no: yaml")
    assert found == {"username": "ada", "password": "no: yaml"}


def test_password_from_a_file_stays_out_of_the_history(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "pw").write_text("secret\n")
    found = exported(capsys, "git", "fleet", "--username=a", f"--password-file={tmp_path}/pw")
    assert found["password"] == "secret"


def test_token_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("t0ken\n"))
    assert exported(capsys, "git", "fleet", "--bearer-token-file=-") == {"bearerToken": "t0ken"}


def test_ssh_key_with_the_hosts_it_is_for(
    capsys: pytest.CaptureFixture[str], key: Path, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("github.com ssh-ed25519 AAAA\n")
    argv = [f"--private-key-file={key}", f"--known-hosts-file={hosts}"]
    assert exported(capsys, "git", "fleet", *argv) == {
        "identity": PEM,
        "known_hosts": "github.com ssh-ed25519 AAAA\n",
    }


def test_certificates(capsys: pytest.CaptureFixture[str], key: Path) -> None:
    argv = [f"--ca-crt-file={key}", f"--tls-crt-file={key}", f"--tls-key-file={key}"]
    assert set(exported(capsys, "git", "fleet", *argv)) == {"ca.crt", "tls.crt", "tls.key"}


@pytest.mark.parametrize("url", ["ghcr.io/acme", "oci://ghcr.io/acme"])
def test_login_of_a_registry(capsys: pytest.CaptureFixture[str], url: str) -> None:
    argv = ["oci", "fleet", f"--url={url}", "--username=ada", "--password=p:w"]
    found = exported(capsys, *argv, type_="kubernetes.io/dockerconfigjson")
    assert json.loads(found[".dockerconfigjson"]) == {
        "auths": {"ghcr.io/acme": {"username": "ada", "password": "p:w", "auth": "YWRhOnA6dw=="}}
    }


def test_half_a_login_of_a_registry_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "give --url, --password too" in refused(capsys, "oci", "fleet", "--username=ada")


def test_certificates_alone(capsys: pytest.CaptureFixture[str], key: Path) -> None:
    assert exported(capsys, "tls", "fleet", f"--ca-crt-file={key}") == {"ca.crt": PEM}
    text = refused(capsys, "tls", "fleet", f"--tls-crt-file={key}")
    assert "a client certificate needs 'tls.key' too" in text


def test_github_app(capsys: pytest.CaptureFixture[str], key: Path) -> None:
    argv = ["--app-id=1", "--app-installation-owner=acme", f"--app-private-key={key}"]
    assert exported(capsys, "github-app", "fleet", *argv) == {
        "githubAppID": "1",
        "githubAppInstallationOwner": "acme",
        "githubAppPrivateKey": PEM,
    }


def test_login_of_a_chart_repository(capsys: pytest.CaptureFixture[str], key: Path) -> None:
    argv = ["--username=a", "--password=b", f"--ca-crt-file={key}"]
    found = exported(capsys, "helm", "fleet", *argv)
    assert found == {"username": "a", "password": "b", "ca.crt": PEM}


def test_proxy(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--address=http://proxy:3128", "--username=a", "--password=b"]
    assert set(exported(capsys, "proxy", "fleet", *argv)) == {"address", "username", "password"}


def test_trust_policy_with_the_certificates_that_it_is_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = {"policy": '{"version": "1.0"}', "a.crt": PEM, "b.pem": PEM}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    argv = [f"--ca-cert-file={tmp_path}/a.crt", f"--ca-cert-file={tmp_path}/b.pem"]
    found = exported(capsys, "notation", "fleet", f"--trust-policy-file={tmp_path}/policy", *argv)
    assert found == {"trustpolicy.json": files["policy"], "a.crt": PEM, "b.pem": PEM}


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["notation", "fleet"], "nothing to write"),
        (["notation", "fleet", "--trust-policy-file=KEY"], "while parsing trustpolicy.json: "),
        (["notation", "fleet", "--ca-cert-file=KEY"], "KEY: must end with .crt or .pem"),
        (["notation", "fleet", "--ca-cert-file=/nowhere.crt"], "/nowhere.crt: No such file"),
        (["git", "fleet"], "nothing to write; see `gitopsd create secret git --help`"),
        (["git", "Fleet", "--username=a"], "'Fleet' is no name of a Secret"),
        (["git", "fleet", "--password=a"], "password requires a username"),
        (["git", "fleet", "--private-key-file=KEY"], "key 'known_hosts' is missing"),
        (["git", "fleet", "--tls-crt-file=KEY"], "needs 'tls.key' too"),
        (["git", "fleet", "--ca-crt-file=/nowhere"], "/nowhere: No such file"),
        (
            ["git", "fleet", "--password=a", "--password-file=KEY"],
            "give --password or --password-file, not both",
        ),
        (["github-app", "fleet", "--app-id=1"], "key 'githubAppPrivateKey' is missing or empty"),
        (["github-app", "fleet", "--app-id=1", "--app-private-key=KEY"], "must be given"),
        (["helm", "fleet", "--password=a"], "password requires a username"),
        (
            ["proxy", "fleet", "--address=socks4://p"],
            "is no http://, https:// or socks5:// address",
        ),
    ],
)
def test_what_the_daemon_could_not_use_is_refused(
    capsys: pytest.CaptureFixture[str], key: Path, argv: list[str], text: str
) -> None:
    message = refused(capsys, *(each.replace("KEY", str(key)) for each in argv))
    assert text.replace("KEY", str(key)) in message
    assert "PRIVATE KEY-----" not in message
