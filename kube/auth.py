"""How to reach a cluster: from a kubeconfig, from inside a pod, or from a kubeconfig in a Secret.

The only importer of kubernetes_asyncio, of which it uses the kubeconfig part: merging several files
and the old auth-providers (oidc, gcp). Its package imports a thousand generated modules (38 MiB);
`_kube_config` loads the part alone (2 MiB). Everything else is read here, since the library writes
keys to temporary files that outlive a crash.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kube import execplugin
from kube.connection import AuthError, Connection, Material, open_connection
from runtime.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kube.objects import JsonObject
    from runtime.clock import Clock

__all__ = ["AuthError", "Connection", "address", "from_dict", "in_cluster", "load"]

TOKEN_FILE_FRESH: Final = dt.timedelta(seconds=60)
"""How long the content of a token file is believed; the kubelet rewrites it."""
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token and the cluster's authority."""


async def load(
    kubeconfig: Path | None,
    context: str | None,
    *,
    environ: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> Connection:
    """Set up a connection from a kubeconfig. The file is read again when credentials are refused.

    Args:
        kubeconfig: the file; None for what ``KUBECONFIG`` or ``~/.kube/config`` says.
        context: the context; None for the file's current one.
        environ: the environment of credential plug-ins, and where ``KUBECONFIG`` is looked up; None
            for this process's own.
        clock: says when credentials expire.

    Raises:
        AuthError: the file, the context or the credentials cannot be used.
    """
    environ = os.environ if environ is None else environ
    clock = clock or SystemClock()
    paths = str(kubeconfig or environ.get("KUBECONFIG") or Path("~/.kube/config"))

    async def source() -> Material:
        entry = await asyncio.to_thread(_read_kubeconfig, paths, context)
        return await _material(entry, environ, clock)

    return await open_connection(source, clock)


async def from_dict(
    config: JsonObject,
    context: str | None = None,
    *,
    clock: Clock | None = None,
    may_run: bool = False,
    may_be_insecure: bool = False,
) -> Connection:
    """Set up a connection from a kubeconfig that somebody else wrote, e.g. one in a Secret.

    It may not name a file of this machine.

    Args:
        config: the kubeconfig.
        context: the context; None for its current one.
        clock: says when credentials expire.
        may_run: let it name a credential plug-in, which gets this process's environment.
        may_be_insecure: let it do without the check of the server's certificate.

    Raises:
        AuthError: it does, or it cannot be used.
    """
    clock = clock or SystemClock()

    async def source() -> Material:
        entry = _look_up(config, context, may_run=may_run)
        if entry.cluster.get("insecure-skip-tls-verify") and not may_be_insecure:
            raise AuthError(_refusal("insecure-skip-tls-verify", "anybody could answer"))
        return await _material(entry, os.environ if may_run else {}, clock)

    return await open_connection(source, clock)


def address(config: JsonObject) -> tuple[str, bytes]:
    """Return where the cluster of a kubeconfig is, and the PEM of the authority it goes by.

    Raises:
        AuthError: it does not say, or names a file.
    """
    entry = _look_up(config, None, may_run=False)
    authority = _data_or_file(entry.cluster, "certificate-authority", None)
    return _server(entry), authority or b""


async def in_cluster(
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path = SERVICE_ACCOUNT,
    clock: Clock | None = None,
) -> Connection:
    """Set up a connection as the service account of the pod that this process runs in.

    Args:
        environ: where the server's address is looked up; None for this process's environment.
        directory: where the token and the authority lie.
        clock: says when the token is read again.

    Raises:
        AuthError: this is no pod, or it has no service account.
    """
    environ = os.environ if environ is None else environ
    clock = clock or SystemClock()
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise AuthError("this process does not run in a pod of a cluster")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    async def source() -> Material:
        token = await asyncio.to_thread(_read_file, directory / "token")
        return Material(
            server=server,
            authorization=f"Bearer {token.decode().strip()}",
            authority=await asyncio.to_thread(_read_file, directory / "ca.crt"),
            expires_at=clock.now() + TOKEN_FILE_FRESH,
        )

    return await open_connection(source, clock)


@dataclass(slots=True, frozen=True, repr=False)
class _Entry:
    """One context of a kubeconfig, looked up."""

    cluster: JsonObject
    user: JsonObject
    cluster_directory: Path | None
    """Relative paths in `cluster` start here; None where files are not allowed."""
    user_directory: Path | None
    persist: Any = None
    """Writes refreshed tokens of an auth-provider back to the file."""
    plugin_directory: Path | None = None
    """Where plug-ins start if not in `user_directory`; None for nowhere."""


_Sections = dict[str, dict[str, tuple[Any, Path | None]]]


def _look_up(config: JsonObject, context: str | None, *, may_run: bool) -> _Entry:
    """Return the context of a kubeconfig that is no file."""
    try:
        sections: _Sections = {
            name: {item["name"]: (item, None) for item in config.get(name) or ()}
            for name in ("clusters", "contexts", "users")
        }
        chosen = context or config.get("current-context")
        entry = _select(sections, chosen, "the kubeconfig")
    except (AttributeError, KeyError, TypeError) as error:
        raise AuthError("this is not a kubeconfig") from error
    return replace(entry, plugin_directory=Path("/")) if may_run else entry


def _read_kubeconfig(paths: str, context: str | None) -> _Entry:
    module = _kube_config()
    if not any(Path(path).expanduser().exists() for path in paths.split(os.pathsep)):
        raise AuthError(
            f"there is no kubeconfig at {paths}; name one in config.toml, or set KUBECONFIG"
        )
    try:
        merger = module.KubeConfigMerger(paths)
    except Exception as error:
        raise AuthError(f"{paths} is not a kubeconfig") from error
    if merger.config is None:
        raise AuthError(f"there is no kubeconfig at {paths}")
    merged = merger.config.value
    sections: _Sections = {
        name: {
            node.value["name"]: (node.value, Path(node.path).absolute().parent)
            for node in merged.get(name) or ()
        }
        for name in ("clusters", "contexts", "users")
    }
    return _select(
        sections,
        context or merged.get("current-context"),
        paths,
        persist=lambda _config: merger.save_changes(),
    )


def _select(
    sections: _Sections,
    context: str | None,
    origin: str,
    persist: Any = None,  # noqa: ANN401 - the library's callback
) -> _Entry:
    if not context:
        raise AuthError(f"{origin} has no current context; name one")
    chosen, _ = _lookup(sections, "context", context, origin)
    cluster, cluster_directory = _lookup(sections, "cluster", chosen.get("cluster"), origin)
    user: JsonObject = {}
    user_directory = cluster_directory
    if chosen.get("user"):
        user, user_directory = _lookup(sections, "user", chosen["user"], origin)
    return _Entry(cluster, user, cluster_directory, user_directory, persist)


def _lookup(
    sections: _Sections, kind: str, name: str | None, origin: str
) -> tuple[JsonObject, Path | None]:
    known = sections[f"{kind}s"]
    item, directory = known.get(name or "", (None, None))
    if item is None:
        raise AuthError(f"{origin} has no {kind} {name!r}; it has {', '.join(known) or 'none'}")
    return item.get(kind) or {}, directory


class _Proof(NamedTuple):
    """How a user proves who it is, beyond the client certificate of the file."""

    authorization: str = ""
    certificate: bytes | None = None
    expires_at: dt.datetime | None = None


async def _material(entry: _Entry, environ: Mapping[str, str], clock: Clock) -> Material:
    cluster, user = entry.cluster, entry.user
    server = _server(entry)
    proof = await _prove(entry, environ, clock)
    authority, certificate = await asyncio.to_thread(_certificates, entry)
    return Material(
        server=server,
        authorization=proof.authorization,
        authority=authority,
        certificate=proof.certificate or certificate,
        is_verified=not cluster.get("insecure-skip-tls-verify"),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        proxy=str(cluster.get("proxy-url") or ""),
        impersonate=str(user.get("as") or ""),
        impersonate_groups=tuple(user.get("as-groups") or ()),
        expires_at=proof.expires_at,
    )


def _server(entry: _Entry) -> str:
    server = str(entry.cluster.get("server") or "").rstrip("/")
    if not server:
        raise AuthError("the cluster in the kubeconfig has no server")
    return server


async def _prove(entry: _Entry, environ: Mapping[str, str], clock: Clock) -> _Proof:
    """Return the proof in the first form that the user section has, in kubectl's order."""
    user = entry.user
    if user.get("exec"):
        plugin = execplugin.parse(user["exec"])
        directory = entry.plugin_directory or _directory(entry, "exec")
        given = await execplugin.run(plugin, entry.cluster, directory, environ)
        token = f"Bearer {given.token}" if given.token else ""
        return _Proof(token, given.certificate, given.expires_at)
    if user.get("auth-provider"):
        token = await _ask_provider(entry)
        return _Proof(token, expires_at=clock.now() + TOKEN_FILE_FRESH)
    if user.get("tokenFile"):
        path = _directory(entry, "tokenFile") / user["tokenFile"]
        content = await asyncio.to_thread(_read_file, path)
        token = f"Bearer {content.decode().strip()}"
        return _Proof(token, expires_at=clock.now() + TOKEN_FILE_FRESH)
    if user.get("token"):
        return _Proof(f"Bearer {user['token']}")
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}"
        return _Proof(f"Basic {base64.b64encode(pair.encode()).decode()}")
    return _Proof()


async def _ask_provider(entry: _Entry) -> str:
    """Return the authorization that one of kubectl's old auth-providers gives."""
    _directory(entry, "auth-provider")
    config = {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": "http://none"}}],
        "users": [{"name": "it", "user": entry.user}],
    }
    loader = _kube_config().KubeConfigLoader(config_dict=config, config_persister=entry.persist)
    answer = SimpleNamespace(api_key={})
    try:
        async with asyncio.timeout(execplugin.TIMEOUT_S):
            await loader.load_and_set(answer)
    except Exception as error:
        name = entry.user["auth-provider"].get("name", "")
        raise AuthError(f"the auth-provider {name!r} of the kubeconfig failed") from error
    return str(answer.api_key.get("BearerToken", ""))


def _certificates(entry: _Entry) -> tuple[bytes | None, bytes | None]:
    """Return the PEM of the authority, and of the client certificate with its key."""
    cluster, user = entry.cluster, entry.user
    authority = _data_or_file(cluster, "certificate-authority", entry.cluster_directory)
    certificate = _data_or_file(user, "client-certificate", entry.user_directory)
    key = _data_or_file(user, "client-key", entry.user_directory)
    if certificate is None or key is None:
        return authority, None
    return authority, certificate + b"\n" + key


def _data_or_file(section: JsonObject, field: str, directory: Path | None) -> bytes | None:
    if section.get(f"{field}-data"):
        try:
            return base64.b64decode(section[f"{field}-data"], validate=True)
        except ValueError as error:
            raise AuthError(f"{field}-data in the kubeconfig is not base64") from error
    if not section.get(field):
        return None
    if directory is None:
        raise AuthError(_refusal(field))
    return _read_file(directory / section[field])


def _directory(entry: _Entry, field: str) -> Path:
    if entry.user_directory is None:
        raise AuthError(_refusal(field))
    return entry.user_directory


def _refusal(field: str, why: str = "it would act on this machine") -> str:
    return f"a kubeconfig in the cluster may not use {field}: {why}"


def _read_file(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AuthError(f"cannot read {path}: {error.strerror}") from error
    if not content.strip():
        raise AuthError(f"{path} is empty")
    return content


@cache
def _kube_config() -> ModuleType:
    """Import kubernetes_asyncio's kubeconfig module without the package around it."""
    package = "kubernetes_asyncio"
    if package not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise AuthError(f"the Python package {package} is not installed")
        root = ModuleType(package)
        root.__path__ = [str(Path(spec.origin).parent)]
        sys.modules[package] = root
        # The kubeconfig module imports these two names and uses neither on the paths taken here.
        client = ModuleType(f"{package}.client")
        client.__dict__.update(ApiClient=object, Configuration=object)
        sys.modules[client.__name__] = client
    return importlib.import_module(f"{package}.config.kube_config")
