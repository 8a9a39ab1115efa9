"""``gitopsd create secret``: write the Secrets that sources name, in Flux's layout.

What is written is read first as the daemon will read it, so that a mistake shows here and not in a
condition later.
"""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from cli import access, create_objects, options
from inspection import failure, objects
from kube import manifests
from kube.objects import GVK, Resource
from sources.auth import basic, github_app, proxy, ssh, tls
from sources.auth.errors import CredentialsError
from sources.oci import keychain, names, trustpolicy
from sources.oci.cosign import UnverifiedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from kube.objects import JsonObject

_SECRETS: Final = Resource(GVK("", "v1", "Secret"), "secrets", is_namespaced=True)
_DOCKER_CONFIG: Final = "kubernetes.io/dockerconfigjson"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_GIT: Final = {
    "username": "user name for https",
    "password": "password or token for https; the passphrase of an encrypted SSH key",
    "bearer-token": "token for https, in place of user and password",
    "private-key-file": "SSH private key",
    "known-hosts-file": "keys of the SSH server, as ssh-keyscan prints them",
    "ca-crt-file": "certificates to trust besides the system's",
    "tls-crt-file": "certificate to present to the server",
    "tls-key-file": "its private key",
}
_APP: Final = {
    "app-id": "number or client id of the App",
    "app-installation-id": "number of the installation",
    "app-installation-owner": "organisation or user that installed it, in place of the number",
    "app-private-key": "file with the App's private key",
    "app-base-url": "API of a GitHub Enterprise Server",
    "ca-crt-file": "certificates to trust besides the system's",
}
_OCI: Final = {
    "url": "the registry, such as ghcr.io, or a path in it",
    "username": "user name at the registry",
    "password": "password or token at the registry",
}
_TLS: Final = {
    "ca-crt-file": "certificates to trust besides the system's",
    "tls-crt-file": "certificate to present to the server",
    "tls-key-file": "its private key",
}
_HELM: Final = {
    "username": "user name at the repository",
    "password": "password at the repository",
    "bearer-token": "token, in place of user and password",
    **_TLS,
}
_PROXY: Final = {
    "address": "http://, https:// or socks5:// address of the proxy",
    "username": "user name at the proxy",
    "password": "password at the proxy",
}
_NOTATION: Final = {
    "trust-policy-file": "trust policy of the Notary Project",
    "ca-cert-file": "certificate of an authority, *.crt or *.pem; may be given several times",
}
_KEYS: Final = {
    "username": "username",
    "password": "password",
    "bearer-token": "bearerToken",
    "private-key-file": "identity",
    "known-hosts-file": "known_hosts",
    "ca-crt-file": "ca.crt",
    "tls-crt-file": "tls.crt",
    "tls-key-file": "tls.key",
    "app-id": github_app.ID_KEY,
    "app-installation-id": github_app.INSTALLATION_KEY,
    "app-installation-owner": github_app.OWNER_KEY,
    "app-private-key": github_app.PRIVATE_KEY,
    "app-base-url": github_app.BASE_URL_KEY,
    "address": "address",
    "url": "url",
    "trust-policy-file": trustpolicy.POLICY,
}
"""The key of the Secret that each option fills."""
_FILES: Final = {option for option in _KEYS if option.endswith("-file")} | {"app-private-key"}
_REPEATED: Final = {"ca-cert-file"}
"""Options that name files which keep their names in the Secret."""
_SECRET_VALUES: Final = {"password", "bearer-token"}
"""Options that may be read from a file or standard input, to stay out of the shell's history."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what can be created, and its options."""
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    create_objects.configure(what)
    secret = what.add_parser("secret", help="credentials of a source")
    kinds = secret.add_subparsers(
        dest="kind", required=True, metavar="git|github-app|oci|helm|tls|proxy|notation"
    )
    for kind, fields, text in (
        ("git", _GIT, "credentials for a Git repository"),
        ("github-app", _APP, "a GitHub App, for provider: github"),
        ("oci", _OCI, "the login of a registry"),
        ("helm", _HELM, "the login of a HelmRepository"),
        ("tls", _TLS, "certificates, for certSecretRef"),
        ("proxy", _PROXY, "a proxy, for proxySecretRef"),
        ("notation", _NOTATION, "who may sign, for provider: notation of verify"),
    ):
        each = kinds.add_parser(kind, help=text, description=text)
        each.add_argument("name", help="name of the Secret")
        for option, explained in fields.items():
            is_repeated = option in _REPEATED
            how = {"action": "append", "default": []} if is_repeated else {"default": ""}
            each.add_argument(f"--{option}", help=explained, **how)
            if option in _SECRET_VALUES:
                each.add_argument(f"--{option}-file", default="", help="file with it; - is stdin")
        each.add_argument("--export", action="store_true", help="print YAML and write nothing")
        options.add_namespace(each)
        options.add_cluster(each)
        each.set_defaults(options=tuple(fields))


def execute(args: argparse.Namespace) -> int:
    """Write the object, or print it."""
    if args.what != "secret":
        return create_objects.execute(args)
    if not _NAME.fullmatch(args.name):
        raise failure.UsageError(f"{args.name!r} is no name of a Secret")
    manifest = secret(args.kind, args.name, args.namespace, _values(args))
    if args.export:
        print(f"---\n{manifests.dump(manifest).decode()}", end="")
        return 0
    cluster = access.the_one(args)

    async def main() -> None:
        async with access.client(cluster) as client:
            body = msgspec.json.encode(_encoded(manifest))
            await client.apply(_SECRETS, body, args.namespace, args.name, manager=objects.MANAGER)

    with access.explained(cluster):
        access.run(main())
    print(f"✔ secret {args.name} written in {args.namespace} namespace")
    return 0


def secret(kind: str, name: str, namespace: str, values: Mapping[str, str]) -> JsonObject:
    """Return the Secret of some values, which must make sense to the daemon.

    Args:
        kind: ``git``, ``github-app``, ``oci``, ``helm``, ``tls``, ``proxy`` or ``notation``.
        name: of the Secret.
        namespace: of the Secret.
        values: its content.

    Raises:
        failure.UsageError: the daemon could not use it.
    """
    if not values:
        raise failure.UsageError(f"nothing to write; see `gitopsd create secret {kind} --help`")
    content = _docker_config(values) if kind == "oci" else dict(values)
    data = {key: value.encode() for key, value in content.items()}
    try:
        _reader(kind, data)(data, f"{namespace}/{name}")
    except (CredentialsError, UnverifiedError) as err:
        raise failure.UsageError(str(err)) from err
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": _DOCKER_CONFIG if kind == "oci" else "Opaque",
        "stringData": content,
    }


def _docker_config(values: Mapping[str, str]) -> dict[str, str]:
    """Return a login as docker keeps it.

    Raises:
        failure.UsageError: something of it is missing.
    """
    if missing := [f"--{key}" for key in _OCI if not values.get(key)]:
        raise failure.UsageError(f"give {', '.join(missing)} too")
    registry = values["url"].removeprefix(names.SCHEME)
    username, password = values["username"], values["password"]
    entry = {
        "username": username,
        "password": password,
        "auth": base64.b64encode(f"{username}:{password}".encode()).decode(),
    }
    return {keychain.CONFIG_KEY: msgspec.json.encode({"auths": {registry: entry}}).decode()}


def _encoded(manifest: JsonObject) -> JsonObject:
    """Return a Secret as the API server keeps it, so that what is no longer given goes away."""
    plain = {key: value for key, value in manifest.items() if key != "stringData"}
    text: dict[str, str] = manifest["stringData"]
    return plain | {
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
    }


def _reader(kind: str, data: Mapping[str, bytes]) -> Callable[[Mapping[str, bytes], str], object]:
    """Return what the daemon reads such a Secret with."""
    if kind == "github-app":
        return github_app.from_secret
    readers: dict[str, Callable[[Mapping[str, bytes], str], object]] = {
        "oci": keychain.from_secret,
        "tls": tls.from_cert_secret,
        "proxy": proxy.from_secret,
        "notation": trustpolicy.read,
    }
    if kind in readers:
        return readers[kind]
    is_ssh = "identity" in data or "known_hosts" in data
    return ssh.from_secret if is_ssh else basic.from_secret


def _values(args: argparse.Namespace) -> dict[str, str]:
    """Return what the options fill in.

    Raises:
        failure.UsageError: a file cannot be read, or an option is given twice.
    """
    given = vars(args)
    values: dict[str, str] = {}
    for option in args.options:
        if option in _REPEATED:
            values |= _certificates(given[_attribute(option)])
            continue
        value, file = given[_attribute(option)], given.get(f"{_attribute(option)}_file", "")
        if value and file:
            raise failure.UsageError(f"give --{option} or --{option}-file, not both")
        if option in _FILES:
            value = _read(value) if value else ""
        elif file:
            value = _read(file).rstrip("\r\n")
        if value:
            values[_KEYS[option]] = value
    return values


def _certificates(files: list[str]) -> dict[str, str]:
    """Return the content of certificates by the names of their files.

    Raises:
        failure.UsageError: one cannot be read, or has a name by which nobody would find it.
    """
    for file in files:
        if not file.endswith(trustpolicy.SUFFIXES):
            raise failure.UsageError(f"{file}: must end with .crt or .pem")
    return {Path(file).name: _read(file) for file in files}


def _attribute(option: str) -> str:
    return option.replace("-", "_")


def _read(file: str) -> str:
    """Return the text of a file, or of standard input for ``-``.

    Raises:
        failure.UsageError: it cannot be read.
    """
    try:
        return sys.stdin.read() if file == "-" else Path(file).expanduser().read_text()
    except OSError as err:
        raise failure.UsageError(f"{file}: {err.strerror or err}") from err
    except UnicodeDecodeError as err:
        raise failure.UsageError(f"{file}: is not text") from err
