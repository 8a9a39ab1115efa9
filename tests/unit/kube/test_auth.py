"""Kubeconfigs, pods and Secrets: what credentials become, and how they are kept fresh."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml

from kube import auth, errors
from tests.support.api import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

    from kube.connection import Connection

SERVER = "https://127.0.0.1:6443"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def pair(ca: trustme.CA) -> tuple[bytes, bytes]:
    issued = ca.issue_cert("client@example.org")
    return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def config(user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "c", "cluster": {"server": SERVER} | cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "main", "context": {"cluster": "c", "user": "u"}},
            {"name": "nobody", "context": {"cluster": "c"}},
            {"name": "broken", "context": {"cluster": "gone", "user": "u"}},
        ],
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def load(
    directory: Path,
    user: dict[str, Any],
    clock: ManualClock | None = None,
    cluster: dict[str, Any] | None = None,
) -> Connection:
    path = write(directory / "kubeconfig", config(user, **(cluster or {})))
    return await auth.load(path, None, environ={"PATH": "/usr/bin:/bin"}, clock=clock)


def plugin(directory: Path, body: str, **fields: Any) -> dict[str, Any]:
    """Write a credential plug-in in Python and return the user section that runs it."""
    script = directory / "plugin"
    script.write_text(f"#!{sys.executable}\nimport json, os, sys, pathlib\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    section = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}
    return {"exec": section | fields}


def prints(**status: Any) -> str:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": status,
    }
    return f"print({json.dumps(credential)!r})"


async def test_token_becomes_a_bearer_header(tmp_path: Path) -> None:
    connection = await load(tmp_path, {"token": "t0"})
    assert (connection.server, connection.host) == (SERVER, "127.0.0.1")
    assert connection.material.authorization == "Bearer t0"


async def test_user_and_password_become_a_basic_header(tmp_path: Path) -> None:
    connection = await load(tmp_path, {"username": "u", "password": "p"})
    assert connection.material.authorization == "Basic " + encoded(b"u:p")


async def test_user_to_act_as_is_taken_over(tmp_path: Path) -> None:
    connection = await load(tmp_path, {"token": "t", "as": "jane", "as-groups": ["a", "b"]})
    assert connection.material.impersonate == "jane"
    assert connection.material.impersonate_groups == ("a", "b")


async def test_context_chooses_cluster_and_user(tmp_path: Path) -> None:
    path = write(tmp_path / "kubeconfig", config({"token": "t"}))
    assert (await auth.load(path, "main")).material.authorization == "Bearer t"
    assert (await auth.load(path, "nobody")).material.authorization == ""


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("gone", "has no context 'gone'; it has main, nobody, broken"),
        ("broken", "has no cluster 'gone'; it has "),
    ],
)
async def test_what_a_context_lacks_is_named(tmp_path: Path, context: str, message: str) -> None:
    path = write(tmp_path / "kubeconfig", config({"token": "t"}))
    with pytest.raises(auth.AuthError, match=message):
        await auth.load(path, context)


async def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(auth.AuthError, match="there is no kubeconfig at"):
        await auth.load(tmp_path / "absent", None)
    broken = tmp_path / "broken"
    broken.write_text("users: [token: secret: x")
    with pytest.raises(auth.AuthError, match="is not a kubeconfig") as caught:
        await auth.load(broken, None)
    assert "secret" not in str(caught.value)
    with pytest.raises(auth.AuthError, match="no current context"):
        await auth.load(write(tmp_path / "empty", {"apiVersion": "v1"}), None)


async def test_several_files_are_merged_and_paths_start_at_their_own(
    tmp_path: Path, ca: trustme.CA
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    whole = config({"tokenFile": "token"}, **{"certificate-authority": "ca.crt"})
    users = whole.pop("users")
    write(one / "config", whole)
    write(two / "config", {"users": users})
    (one / "ca.crt").write_bytes(ca.cert_pem.bytes())
    (two / "token").write_text("from two\n")
    environ = {"KUBECONFIG": f"{one / 'config'}:{two / 'config'}"}
    connection = await auth.load(None, None, environ=environ)
    assert connection.material.authorization == "Bearer from two"
    assert connection.material.authority == ca.cert_pem.bytes()


async def test_only_the_cluster_s_authority_is_trusted(tmp_path: Path, ca: trustme.CA) -> None:
    data = {"certificate-authority-data": encoded(ca.cert_pem.bytes())}
    connection = await load(tmp_path, {"token": "t"}, cluster=data)
    assert connection.ssl_context is not None
    assert len(connection.ssl_context.get_ca_certs()) == 1


async def test_client_certificate_is_used_from_data_and_from_files(
    tmp_path: Path, pair: tuple[bytes, bytes]
) -> None:
    certificate, key = pair
    data = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
    from_data = await load(tmp_path, data)
    (tmp_path / "c.crt").write_bytes(certificate)
    (tmp_path / "c.key").write_bytes(key)
    files = await load(tmp_path, {"client-certificate": "c.crt", "client-key": "c.key"})
    assert from_data.material.certificate == files.material.certificate
    assert from_data.material.certificate is not None


async def test_certificate_and_key_that_do_not_fit_are_refused(
    tmp_path: Path, ca: trustme.CA, pair: tuple[bytes, bytes]
) -> None:
    other = ca.issue_cert("other@example.org").private_key_pem.bytes()
    data = {"client-certificate-data": encoded(pair[0]), "client-key-data": encoded(other)}
    with pytest.raises(auth.AuthError, match="not a pair"):
        await load(tmp_path, data)


async def test_unreadable_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(auth.AuthError, match="is not base64"):
        await load(tmp_path, {}, cluster={"certificate-authority-data": "***"})
    with pytest.raises(auth.AuthError, match="not a PEM certificate"):
        await load(tmp_path, {}, cluster={"certificate-authority-data": encoded(b"x")})
    with pytest.raises(auth.AuthError, match="cannot read"):
        await load(tmp_path, {}, cluster={"certificate-authority": "absent.crt"})


async def test_options_of_the_cluster_are_taken_over(tmp_path: Path) -> None:
    options = {
        "insecure-skip-tls-verify": True,
        "tls-server-name": "api.example.org",
        "proxy-url": "http://127.0.0.1:3128",
    }
    connection = await load(tmp_path, {"token": "t"}, cluster=options)
    assert connection.ssl_context is not None
    assert connection.ssl_context.check_hostname is False
    assert connection.material.tls_server_name == "api.example.org"
    assert connection.material.proxy == "http://127.0.0.1:3128"


async def test_plain_http_has_no_tls(tmp_path: Path) -> None:
    connection = await load(tmp_path, {}, cluster={"server": "http://127.0.0.1:8080/"})
    assert connection.ssl_context is None
    assert connection.server == "http://127.0.0.1:8080"


async def test_secrets_are_not_in_any_representation(tmp_path: Path) -> None:
    connection = await load(tmp_path, {"token": "hunter2"})
    assert "hunter2" not in repr(connection.material) + repr(connection)


async def test_token_file_is_read_again_after_a_minute(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "token").write_text("old")
    connection = await load(tmp_path, {"tokenFile": "token"}, clock)
    (tmp_path / "token").write_text("new")
    assert await connection.current() == 0
    clock.move(59)
    assert await connection.current() == 1
    assert connection.material.authorization == "Bearer new"


async def test_plugin_gives_a_token(tmp_path: Path) -> None:
    connection = await load(tmp_path, plugin(tmp_path, prints(token="t1")))
    assert connection.material.authorization == "Bearer t1"
    assert connection.material.expires_at is None


async def test_plugin_gives_a_certificate(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    certificate, key = pair[0].decode(), pair[1].decode()
    body = prints(clientCertificateData=certificate, clientKeyData=key)
    connection = await load(tmp_path, plugin(tmp_path, body))
    assert connection.material.certificate is not None
    assert connection.material.authorization == ""


async def test_plugin_gets_arguments_variables_and_the_cluster(tmp_path: Path) -> None:
    body = (
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "said = [sys.argv[1], os.environ['REGION'], info['spec']['cluster']['server'],"
        " info['spec']['interactive']]\n"
        "print(json.dumps({'apiVersion': info['apiVersion'], 'kind': 'ExecCredential',"
        " 'status': {'token': ' '.join(map(str, said))}}))"
    )
    user = plugin(
        tmp_path,
        body,
        args=["get-token"],
        env=[{"name": "REGION", "value": "eu"}],
        provideClusterInfo=True,
    )
    connection = await load(tmp_path, user)
    assert connection.material.authorization == f"Bearer get-token eu {SERVER} False"


async def test_plugin_runs_again_before_its_token_expires(
    tmp_path: Path, clock: ManualClock
) -> None:
    body = (
        "count = pathlib.Path('count')\n"
        "n = len(count.read_text()) if count.exists() else 0\n"
        "count.write_text('x' * (n + 1))\n"
        "end = ['2026-01-02T00:10:00Z', '2026-01-02T09:00:00Z'][n]\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1',"
        " 'kind': 'ExecCredential', 'status': {'token': f't{n}', 'expirationTimestamp': end}}))"
    )
    connection = await load(tmp_path, plugin(tmp_path, body), clock)
    clock.move(8 * 60)
    assert (await connection.current(), connection.material.authorization) == (0, "Bearer t0")
    clock.move(61)
    assert (await connection.current(), connection.material.authorization) == (1, "Bearer t1")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('dear ' * 3, file=sys.stderr); sys.exit('log in first')", "status 1: log in first"),
        ("print('no json secret')", "did not print an ExecCredential"),
        (prints(), "neither token nor certificate"),
        (prints(token="t").replace("/v1", "/v9"), "speaks client.authentication.k8s.io/v9"),
    ],
)
async def test_plugin_that_fails_says_why(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(auth.AuthError, match=message) as caught:
        await load(tmp_path, plugin(tmp_path, body))
    assert "secret" not in str(caught.value)


async def test_missing_plugin_is_named_with_its_hint(tmp_path: Path) -> None:
    user = plugin(tmp_path, "", command="no-such-plugin", installHint="brew install it")
    with pytest.raises(auth.AuthError, match="no-such-plugin is not installed; brew install it"):
        await load(tmp_path, user)


async def test_malformed_plugin_section_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(auth.AuthError, match="command"):
        await load(tmp_path, {"exec": {"apiVersion": "client.authentication.k8s.io/v1"}})


async def test_credentials_that_were_refused_are_renewed_once_for_all(
    tmp_path: Path, clock: ManualClock
) -> None:
    connection = await load(tmp_path, {"token": "old"}, clock)
    write(tmp_path / "kubeconfig", config({"token": "new"}))
    assert await connection.renew(0) is True
    assert await connection.renew(0) is True  # another request that was refused at the same time
    assert (connection.generation, connection.material.authorization) == (1, "Bearer new")


async def test_credentials_that_did_not_change_are_not_tried_again(
    tmp_path: Path, clock: ManualClock
) -> None:
    connection = await load(tmp_path, {"token": "old"}, clock)
    assert await connection.renew(0) is False
    write(tmp_path / "kubeconfig", config({"token": "new"}))
    assert await connection.renew(0) is False  # asked a moment ago
    clock.move(5)
    assert await connection.renew(0) is True


async def test_connection_survives_a_source_that_fails_until_its_credentials_end(
    tmp_path: Path, clock: ManualClock
) -> None:
    (tmp_path / "token").write_text("old")
    connection = await load(tmp_path, {"tokenFile": "token"}, clock)
    (tmp_path / "token").unlink()
    clock.move(50)
    assert await connection.current() == 0
    clock.move(10)
    with pytest.raises(errors.Unauthorized, match="cannot be renewed: cannot read"):
        await connection.current()


async def test_tls_context_is_kept_while_only_the_token_changes(
    tmp_path: Path, clock: ManualClock
) -> None:
    connection = await load(tmp_path, {"token": "old"}, clock)
    before = connection.ssl_context
    write(tmp_path / "kubeconfig", config({"token": "new"}))
    await connection.renew(0)
    assert connection.ssl_context is before


async def test_old_auth_provider_gives_its_token(tmp_path: Path) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 4_000_000_000}).encode()).decode()
    token = f"e30.{claims.rstrip('=')}.sig"
    user = {"auth-provider": {"name": "oidc", "config": {"id-token": token}}}
    connection = await load(tmp_path, user)
    assert connection.material.authorization == f"Bearer {token}"


async def test_auth_provider_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(auth.AuthError, match="auth-provider 'oidc'"):
        await load(tmp_path, {"auth-provider": {"name": "oidc", "config": {}}})


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ({"exec": {"command": "id", "apiVersion": "v1"}}, {}),
        ({"tokenFile": "/etc/passwd"}, {}),
        ({"auth-provider": {"name": "gcp", "config": {"cmd-path": "id"}}}, {}),
        ({"client-certificate": "/c", "client-key": "/k"}, {}),
        ({}, {"certificate-authority": "/etc/passwd"}),
    ],
)
async def test_kubeconfig_of_others_may_not_act_on_this_machine(
    user: dict[str, Any], cluster: dict[str, Any]
) -> None:
    with pytest.raises(auth.AuthError, match="would act on this machine"):
        await auth.from_dict(config(user, **cluster))


async def test_kubeconfig_of_others_works_with_what_is_in_it(ca: trustme.CA) -> None:
    data = {"certificate-authority-data": encoded(ca.cert_pem.bytes())}
    connection = await auth.from_dict(config({"token": "t"}, **data))
    assert connection.material.authorization == "Bearer t"


async def test_kubeconfig_of_others_may_run_a_program_where_that_is_allowed(
    tmp_path: Path,
) -> None:
    user = plugin(tmp_path, prints(token="t"))
    user["exec"]["command"] = str(tmp_path / "plugin")
    connection = await auth.from_dict(config(user), may_run=True)
    assert connection.material.authorization == "Bearer t"
    with pytest.raises(auth.AuthError, match="may not use tokenFile"):
        await auth.from_dict(config({"tokenFile": "/etc/passwd"}), may_run=True)


async def test_kubeconfig_of_others_checks_certificates_unless_it_may_do_without() -> None:
    careless = config({"token": "t"}, **{"insecure-skip-tls-verify": True})
    with pytest.raises(auth.AuthError, match="may not use insecure-skip-tls-verify"):
        await auth.from_dict(careless)
    connection = await auth.from_dict(careless, may_be_insecure=True)
    assert not connection.material.is_verified


@pytest.mark.parametrize("content", [[], "text", {"clusters": [3]}, {"users": 3}, {"contexts": {}}])
async def test_what_is_no_kubeconfig_is_refused(content: Any) -> None:
    with pytest.raises(auth.AuthError, match=r"not a kubeconfig|no current context"):
        await auth.from_dict(content)


async def test_pod_uses_its_service_account(
    tmp_path: Path, ca: trustme.CA, clock: ManualClock
) -> None:
    (tmp_path / "token").write_text("one\n")
    (tmp_path / "ca.crt").write_bytes(ca.cert_pem.bytes())
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    connection = await auth.in_cluster(environ=environ, directory=tmp_path, clock=clock)
    assert connection.server == "https://[fd00::1]:443"
    (tmp_path / "token").write_text("two\n")
    clock.move(60)
    assert await connection.current() == 1
    assert connection.material.authorization == "Bearer two"


async def test_outside_of_a_pod_there_is_no_service_account() -> None:
    with pytest.raises(auth.AuthError, match="does not run in a pod"):
        await auth.in_cluster(environ={})


def test_library_s_generated_modules_are_never_loaded(tmp_path: Path) -> None:
    path = write(tmp_path / "kubeconfig", config({"token": "t"}))
    program = f"""
import asyncio, pathlib, resource, sys, aiohttp, yaml
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from kube import auth
asyncio.run(auth.load(pathlib.Path({str(path)!r}), None))
heavy = ("kubernetes_asyncio.client.models", "kubernetes_asyncio.client.api")
assert not [name for name in sys.modules if name.startswith(heavy)], "generated modules"
assert "kubernetes_asyncio.config.kube_config" in sys.modules
unit = 1 if sys.platform == "darwin" else 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 10 * 1024 * 1024
