"""``config.toml`` as typed, immutable settings: what belongs to the machine, never to a cluster.

The file at the root of the project is the commented example and decodes to exactly the defaults
below. A key that is not known, or a value of the wrong type, is refused with the file, the table
and the key, so that a typing error never silently means "default".

Exception tree::

    SettingsError    the file cannot be read, or says something we do not understand
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from api import durations
from daemon import paths

Address = Annotated[str, msgspec.Meta(pattern=r"^$|^(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):\d{1,5}$")]
"""``host:port``; an IPv6 host stands in brackets, port 0 takes a free one, empty switches off."""
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
"""A name made of lower-case letters, digits and dashes, 63 at most."""
Component = Literal[
    "source-controller", "kustomize-controller", "helm-controller", "notification-controller"
]
_MAIN = "refs/heads/main"
_WIDER_THAN_OWNER = stat.S_IRWXG | stat.S_IRWXO
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>[^`]*)`")
_INDEX = re.compile(r"\[\d+\]|\[\.\.\.\]")
_WHERE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


class SettingsError(Exception):
    """The settings cannot be used; the message names the file and the key, and what to do."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every table of the file: immutable, unknown keys refused."""


class Daemon(Section, frozen=True, kw_only=True):
    """``[daemon]``: where the process keeps its things."""

    data_dir: Path | None = None
    """Artifacts, Git stores, build and digest caches, lock and control socket; all of it can be
    rebuilt. Default: the platform's place for a program's data."""
    control_socket: Path | None = None
    """Unix socket, mode 0600, through which ``gitopsd status`` asks. Default: in ``data_dir``;
    a setting because a socket's path may not be longer than 104 bytes."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe records that are written. ``info`` is one line for each outcome that changed
    something, so an idle daemon is silent."""


class Listen(Section, frozen=True, kw_only=True):
    """``[listen]``: the three HTTP listeners; loopback until somebody decides otherwise."""

    webhooks: Address = "127.0.0.1:9292"
    """``/webhooks/github`` and the ``/hook/`` paths of Receivers; the only one meant to be reached
    from outside, through a reverse proxy or a tunnel."""
    artifacts: Address = "127.0.0.1:9790"
    """File server of the artifacts named in ``status.artifact.url``, for other consumers."""
    artifacts_url: str = ""
    """How other consumers reach ``artifacts``, for example ``http://mini.local:9790``. Default:
    ``http://`` and the bound address."""
    metrics: Address = "127.0.0.1:9080"
    """``/metrics``, ``/healthz`` and ``/readyz``."""


class GitHub(Section, frozen=True, kw_only=True):
    """``[github]``: this machine's GitHub App, and the push webhook."""

    app_id: int | str = ""
    """Number or client id of the GitHub App that GitRepositories with ``provider: github`` and
    without a ``secretRef`` are fetched with. Default: none."""
    installation: int | str = ""
    """Number of the installation, or the organisation or user that installed the App."""
    private_key_file: Path | None = None
    """File, mode 0600, with the App's private key as GitHub hands it out."""
    base_url: str = "https://api.github.com"
    """The API; for GitHub Enterprise Server ``https://<host>/api/v3``."""
    ca_file: Path | None = None
    """PEM certificates to trust besides the system's, for an Enterprise Server."""
    namespaces: tuple[str, ...] = ("flux-system",)
    """Namespaces whose GitRepositories may use the App, ``*`` for all. Default: Flux's own alone,
    since the App opens every repository it is installed in to whoever may write there."""

    webhook_secret_file: Path | None = None
    """File, mode 0600, with the secret entered at GitHub. Default: none, and
    ``/webhooks/github`` refuses every delivery."""


class Tools(Section, frozen=True, kw_only=True):
    """``[tools]``: the official programs that run as child processes."""

    kustomize: Path | None = None
    """The kustomize binary. Default: looked for in ``<data_dir>/tools``, then on ``PATH``."""
    sops: Path | None = None
    """The sops binary, for Kustomizations with ``spec.decryption``. Default: as for kustomize."""
    helm: Path | None = None
    """The helm binary, 4.0 or newer, for HelmReleases. Default: as for kustomize."""
    cosign: Path | None = None
    """The cosign binary, for OCIRepositories whose signatures were made without keys. Default: as
    for kustomize."""
    notation: Path | None = None
    """The notation binary, for signatures of the Notary Project. Default: as for kustomize."""


class Decryption(Section, frozen=True, kw_only=True):
    """``[decryption]``: keys of this machine for encrypted files in Git."""

    age_key_file: Path | None = None
    """File, mode 0600, with age identities for Kustomizations of every cluster that ask for
    decryption and name no Secret. Default: none."""


class Limits(Section, frozen=True, kw_only=True):
    """``[limits]``: how much is done at once, over all clusters together or for each."""

    sources: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Sources fetched at once in one cluster. Fetching is network time, so more than a few only
    help when many sources change together."""
    kustomizations: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    """Kustomizations built and applied at once in one cluster. A wait for health does not count."""
    helmreleases: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    """HelmReleases rendered and applied at once in one cluster. A wait for health does not count,
    and helm itself runs in one of the slots of ``processes``."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Threads for blocking work (Git, archives), over all clusters; each costs memory, and two
    cores are kept busy by four."""
    processes: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    """Child processes at once, over all clusters. Default 0: as many as the machine has CPUs."""
    requests: Annotated[int, msgspec.Meta(ge=1, le=256)] = 32
    """Connections to one API server. 32 saturate one on two cores; more only queue there."""
    artifact_megabytes: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 512
    """MiB that what a registry or a bucket holds may have, packed and unpacked. Far above what
    manifests need, far below what fills a disk: a few kilobytes can unpack to gigabytes."""
    artifact_files: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100_000
    """Files, or objects, that such an artifact may hold."""
    git_megabytes: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 2048
    """MiB that a Git server may send in one fetch, and that the files of one artifact may have.
    Ten times what large repositories of manifests have."""
    git_file_megabytes: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256
    """MiB of the largest file in a repository; it is in memory once."""
    git_objects: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 1_000_000
    """Objects (files, directories, commits) that a Git server may send in one fetch. A pinned
    commit comes with all of the history before it."""


class Sync(Section, frozen=True, kw_only=True):
    """``[clusters.sync]``: what ``spec.sync`` of a FluxInstance says."""

    kind: Literal["GitRepository", "OCIRepository", "Bucket"] = "GitRepository"
    """The kind of the source."""
    url: Annotated[str, msgspec.Meta(min_length=1)]
    """Address of the repository, for example ``https://github.com/acme/fleet.git``."""
    ref: Annotated[str, msgspec.Meta(min_length=1)] = _MAIN
    """Git reference, OCI tag or bucket name. Only the first has a default."""
    path: str = "./"
    """Folder of the repository that this cluster follows."""
    interval: str = "1m"
    """How often to ask the source when no webhook arrives, a Go duration. One minute, as Flux."""
    pull_secret: str = ""
    """Secret in ``flux-system`` with the credentials. Default: none."""
    provider: Literal["", "generic", "github", "aws", "azure", "gcp"] = ""
    """``github``: a GitHub App fetches it, that of ``pull_secret`` or else that of ``[github]``.
    ``aws``, ``azure``, ``gcp``: whose it is, opened by ``pull_secret`` or, with
    ``ambient_cloud_identity``, by what this machine is there."""

    def __post_init__(self) -> None:
        """Refuse an interval that the API server would refuse later, and what has no default."""
        durations.parse(self.interval)
        if self.kind != "GitRepository" and self.ref == _MAIN:
            what = "the bucket's name" if self.kind == "Bucket" else "a tag such as 'latest'"
            raise ValueError(f"ref has to be {what} for a sync of kind {self.kind}")


class Distribution(Section, frozen=True, kw_only=True):
    """``[clusters.distribution]``: recorded in the FluxInstance, as other tools expect."""

    version: str = "2.x"
    """Which versions of Flux's API the cluster's manifests are written for."""
    registry: str = "ghcr.io/fluxcd"
    """Recorded only: there are no images to pull."""


class Cluster(Section, frozen=True, kw_only=True):
    """One ``[[clusters]]``: how to reach a cluster and what to do there."""

    name: Name
    """What status, metrics and ``--cluster`` call it. Changing it starts the cluster afresh."""
    kubeconfig: Path | None = None
    """Default: ``$KUBECONFIG``, then ``~/.kube/config``, as kubectl."""
    context: str = ""
    """Context of the kubeconfig. Default: its current one when the daemon connects."""
    in_cluster: bool = False
    """Use the ServiceAccount of the pod the daemon runs in; ``kubeconfig`` is then not read."""
    service_account: Path | None = None
    """Folder with the ``token`` and ``ca.crt`` of ``in_cluster``, read again as they are renewed.
    Default: where Kubernetes mounts them; another one for a pod that mounts its own projection."""
    install_crds: bool = True
    """Create and upgrade the CRDs that the daemon serves. Off where another tool owns them."""
    namespace: str = ""
    """Serve the objects of this one namespace only, for a credential that may do no more. Default:
    every namespace."""
    watch_unlabelled: bool = True
    """React to referenced ConfigMaps and Secrets at once also where they lack Flux's label
    ``reconcile.fluxcd.io/watch: Enabled``. Off where a credential may not watch all of them; such
    an object is then looked at when its user runs anyway."""
    custom_apply_stage_kinds: tuple[str, ...] = ()
    """Kinds applied after definitions, namespaces and classes and before everything else, as
    ``group/Kind``, or ``Kind`` for the core group: Roles that RoleBindings beside them need."""
    override_managers: tuple[str, ...] = ()
    """Field managers, by how their names begin, whose fields on objects of Kustomizations are taken
    over like those of ``kubectl``: what they set and Git does not have disappears at the next
    apply. Flux's ``--override-manager``."""
    strict_substitution: bool = True
    """Fail a build that uses a variable without a value and without a default, as Flux does. Off
    for a fleet that was written for the time when such a variable was empty."""
    flux_cli_markers: bool = False
    """Keep a Deployment with zero replicas for each controller of Flux, for ``flux check``,
    ``flux version`` and other tools that look for those. One of Flux's own is left alone."""
    components: tuple[Component, ...] | None = None
    """Which reconcilers run, by the names of Flux's controllers. Default: what the cluster's
    FluxInstance says, and all of them where there is none."""
    no_cross_namespace_refs: bool = False
    """Refuse references to sources of other namespaces. This and the next two keep tenants apart as
    the flags of Flux of the same names do; a FluxInstance with ``multitenant`` sets all three."""
    no_remote_bases: bool = False
    """Refuse kustomizations that name bases by URL."""
    external_artifacts: bool = True
    """Apply artifacts that somebody else makes (ExternalArtifact), as Flux does behind the gate of
    that name. Whoever may write their status has the daemon fetch from the addresses in it."""
    default_service_account: str = ""
    """ServiceAccount of an object's own namespace to act as, where the object names none. Default:
    the daemon's own identity."""
    ambient_cloud_identity: bool = False
    """Let sources with ``provider`` aws, azure or gcp, and with neither a Secret nor a
    ServiceAccount, and ``kubeConfig.configMapRef`` likewise, use the identity that this machine has
    in that cloud. Off, since whoever may write them then reads, and applies, what this machine may.
    Has no effect where tenants are kept apart by a default ServiceAccount."""
    insecure_kubeconfig_exec: bool = False
    """Let kubeconfigs in Secrets run programs on this machine. Whoever may write such a Secret then
    is whoever the daemon runs as."""
    insecure_kubeconfig_tls: bool = False
    """Let kubeconfigs in Secrets leave the certificate of their API server unchecked."""
    distribution: Distribution | None = None
    """Default: version ``2.x`` of ``ghcr.io/fluxcd``."""
    sync: Sync | None = None
    """What to follow. Default: only the objects that are in the cluster already."""

    def __post_init__(self) -> None:
        """Refuse two answers to the same question."""
        if self.in_cluster and (self.kubeconfig or self.context):
            raise ValueError("in_cluster excludes kubeconfig and context")
        if self.service_account and not self.in_cluster:
            raise ValueError("service_account needs in_cluster = true")


class Settings(Section, frozen=True, kw_only=True):
    """The whole file."""

    daemon: Daemon = Daemon()
    """See `Daemon`."""
    listen: Listen = Listen()
    """See `Listen`."""
    github: GitHub = GitHub()
    """See `GitHub`."""
    tools: Tools = Tools()
    """See `Tools`."""
    decryption: Decryption = Decryption()
    """See `Decryption`."""
    limits: Limits = Limits()
    """See `Limits`."""
    clusters: tuple[Cluster, ...] = ()
    """The clusters to serve. Default: none, since whatever a kubeconfig currently points at may
    be nothing to experiment with."""

    def __post_init__(self) -> None:
        """Refuse two clusters of one name."""
        names = [cluster.name for cluster in self.clusters]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two [[clusters]] are named {name!r}")

    @property
    def data_dir(self) -> Path:
        """The data directory, default applied."""
        return self.daemon.data_dir or paths.default_data_dir()

    @property
    def control_socket(self) -> Path:
        """The control socket, default applied."""
        return self.daemon.control_socket or self.data_dir / "control.sock"

    @property
    def processes(self) -> int:
        """How many child processes may run at once, default applied."""
        return self.limits.processes or os.cpu_count() or 1


def load(path: Path) -> Settings:
    """Read a configuration file.

    Raises:
        SettingsError: it cannot be read, is not TOML, or a key or value is wrong.
    """
    try:
        text = path.read_text()
    except OSError as err:
        raise SettingsError(f"{path}: {err.strerror or err}") from err
    except UnicodeDecodeError as err:
        raise SettingsError(f"{path}: is not UTF-8 text") from err
    return parse(text, str(path))


def parse(text: str, origin: str) -> Settings:
    """Read settings from TOML.

    Args:
        text: the TOML.
        origin: what messages call it, usually the file's path.

    Raises:
        SettingsError: as `load`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise SettingsError(f"{origin}: is not valid TOML: {err}") from err
    try:
        return msgspec.convert(document, Settings, dec_hook=_decode_path)
    except msgspec.ValidationError as err:
        raise SettingsError(f"{origin}: {_explain(str(err))}") from err


def control_socket(path: Path) -> Path:
    """Return where the daemon of a configuration file listens, also while the file is wrong.

    Whoever made a mistake in it wants to be told so by ``gitopsd status``.
    """
    try:
        table = tomllib.loads(path.read_text()).get("daemon", {})
        daemon = msgspec.convert(table, Daemon, dec_hook=_decode_path)
    except (OSError, ValueError, msgspec.ValidationError):
        daemon = Daemon()
    return Settings(daemon=daemon).control_socket


def read_secret(path: Path) -> bytes:
    """Read a secret file, without the newline that editors add at its end.

    Raises:
        SettingsError: it is missing, empty, or somebody other than its owner may read it.
    """
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as err:
        raise SettingsError(f"secret file {path}: {err.strerror or err}") from err
    if mode & _WIDER_THAN_OWNER:
        shown = f"{stat.S_IMODE(mode):04o}"
        raise SettingsError(
            f"secret file {path}: mode {shown} lets others in; run: chmod 600 {path}"
        )
    secret = content.rstrip(b"\r\n")
    if not secret:
        raise SettingsError(f"secret file {path}: is empty")
    return secret


def split_address(address: str) -> tuple[str, int]:
    """Split ``host:port``; the brackets of an IPv6 host are taken off."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _decode_path(type_: type, value: Any) -> Any:  # noqa: ANN401 - msgspec's hook takes and gives any type
    """Decode the one type that TOML has not: a path, expanded."""
    if type_ is Path and isinstance(value, str):
        return paths.expand(value)
    raise NotImplementedError(type_)


def _explain(error: str) -> str:
    """Turn msgspec's words into ours: the table and key first, then what is wrong with it."""
    found = _WHERE.search(error)
    where, what = (found["path"], error[: found.start()]) if found else ("", error)
    unknown = _UNKNOWN.match(what)
    if not unknown:
        return f"{where or 'the file'}: {what}"
    key = unknown["key"]
    return f"{f'{where}.{key}' if where else key}: unknown key{_suggest(where, key)}"


def _suggest(where: str, key: str) -> str:
    """Name the key that was probably meant: of the same table, or the same key of another one."""
    tables = {
        "": Settings,
        "daemon": Daemon,
        "listen": Listen,
        "github": GitHub,
        "tools": Tools,
        "decryption": Decryption,
        "limits": Limits,
        "clusters": Cluster,
        "clusters.distribution": Distribution,
        "clusters.sync": Sync,
    }
    here = tables.get(_INDEX.sub("", where))
    close = difflib.get_close_matches(key, here.__struct_fields__ if here else (), n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    elsewhere = [name for name, table in tables.items() if key in table.__struct_fields__]
    return f"; {key!r} belongs in [{elsewhere[0]}]" if elsewhere and elsewhere[0] else ""
