"""Credential plug-ins of a kubeconfig (``user.exec``), by the client authentication API.

The plug-in is a program that prints an ``ExecCredential``. It gets no terminal, has a deadline, and
leaves no process behind. What it prints is a secret and is never quoted.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from api import meta
from kube.connection import AuthError
from runtime import process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kube.objects import JsonObject

TIMEOUT_S: Final = 60.0
"""Seconds that a plug-in may take; some ask a cloud's service twice."""
_MAX_OUTPUT: Final = 1024 * 1024
_HINT_LIMIT: Final = 200


class _Variable(meta.Struct, frozen=True):
    name: str
    value: str = ""


class Plugin(meta.Struct, frozen=True):
    """The ``exec`` section of a kubeconfig's user."""

    command: str
    api_version: str
    args: tuple[str, ...] | None = None
    env: tuple[_Variable, ...] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False


class _Status(meta.Struct, frozen=True):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: dt.datetime | None = None


class _Credential(meta.Struct, frozen=True):
    api_version: str
    kind: str
    status: _Status


@dataclass(slots=True, frozen=True)
class Credential:
    """What a plug-in gave."""

    token: str
    certificate: bytes | None
    """PEM of a client certificate and its key."""
    expires_at: dt.datetime | None


_CREDENTIAL = msgspec.json.Decoder(_Credential)


def parse(section: object) -> Plugin:
    """Read an ``exec`` section.

    Raises:
        AuthError: a field is missing or of another type.
    """
    try:
        return msgspec.convert(section, Plugin)
    except msgspec.ValidationError as error:
        raise AuthError(f"the exec section of the kubeconfig is not valid: {error}") from error


async def run(
    plugin: Plugin, cluster: JsonObject, directory: Path, environ: Mapping[str, str]
) -> Credential:
    """Run a plug-in once and return the credential it prints.

    Args:
        plugin: what to run.
        cluster: the kubeconfig's cluster section, for plug-ins that ask for it.
        directory: of the kubeconfig; a relative command with a slash in it starts there.
        environ: the environment, to which the plug-in's own variables are added.

    Raises:
        AuthError: it is missing, fails, takes too long or prints something else.
    """
    name = plugin.command.rpartition("/")[2]
    command = str(directory / plugin.command) if "/" in plugin.command else plugin.command
    added = {variable.name: variable.value for variable in plugin.env or ()}
    added["KUBERNETES_EXEC_INFO"] = _info(plugin, cluster)
    try:
        done = await process.run(
            [command, *(plugin.args or ())],
            cwd=directory,
            env={**environ, **added},
            timeout_s=TIMEOUT_S,
            max_output=_MAX_OUTPUT,
        )
    except process.ProcessNotFound as error:
        hint = f"; {plugin.install_hint.strip()}" if plugin.install_hint else ""
        raise AuthError(f"the credential plug-in {name} is not installed{hint}") from error
    except process.ProcessError as error:
        raise AuthError(f"the credential plug-in {name} failed: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:_HINT_LIMIT]
        raise AuthError(
            f"the credential plug-in {name} ended with status {done.returncode}: {said}"
        )
    return _read(done.stdout, plugin, name)


def _read(output: bytes, plugin: Plugin, name: str) -> Credential:
    try:
        answer = _CREDENTIAL.decode(output)
    except msgspec.MsgspecError as error:
        raise AuthError(f"the credential plug-in {name} did not print an ExecCredential") from error
    if answer.kind != "ExecCredential" or answer.api_version != plugin.api_version:
        raise AuthError(
            f"the credential plug-in {name} speaks {answer.api_version}, not {plugin.api_version}"
        )
    status = answer.status
    certificate = None
    if status.client_certificate_data and status.client_key_data:
        pair = f"{status.client_certificate_data}\n{status.client_key_data}"
        certificate = pair.encode()
    if not status.token and certificate is None:
        raise AuthError(f"the credential plug-in {name} gave neither token nor certificate")
    return Credential(status.token, certificate, status.expiration_timestamp)


def _info(plugin: Plugin, cluster: JsonObject) -> str:
    spec: JsonObject = {"interactive": False}
    if plugin.provide_cluster_info:
        told: JsonObject = {
            key: cluster[key]
            for key in (
                "server",
                "tls-server-name",
                "insecure-skip-tls-verify",
                "certificate-authority-data",
                "proxy-url",
            )
            if key in cluster
        }
        for extension in cluster.get("extensions") or ():
            if extension.get("name") == "client.authentication.k8s.io/exec":
                told["config"] = extension.get("extension")
        spec["cluster"] = told
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    return orjson.dumps(info).decode()
