"""A real OCI registry, the CNCF's distribution, on loopback, and a way to push to it.

::

    with Registry(tmp_path, login=True, tls=True) as registry:
        digest = registry.push("org/app", "1.0.0", {"deploy.yaml": "…"})
        registry.requests()  # what it was asked since the last time
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import socket
import ssl
import tarfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from devcluster import certificates, toolcache
from devcluster.processes import Program
from sources.oci import manifests, names
from sources.oci.keychain import Login

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sources.oci.names import Name

LOGIN = Login("ada", "secret")
"""What a registry with ``login`` wants."""
_HTPASSWD = "ada:$2b$04$B5bzVucMATCRnBFNgMxIt.XX.r9rNGZ/G5uGtiFjShczfwyzpzv96\n"
_START_S = 60.0
_ANY = {"Accept": ", ".join(manifests.ACCEPTED)}
_ACCESS = re.compile(r'"(GET|HEAD|POST|PUT|DELETE) (\S+) HTTP/1\.1" (\d+)')


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer to push."""

    content: bytes
    media_type: str = manifests.FLUX_CONTENT


@dataclass(slots=True)
class TokenServer:
    """Where a registry sends its clients for tokens, and what its tokens are signed with."""

    realm: str
    service: str
    issuer: str
    certificates: Path


@dataclass(slots=True)
class Registry:
    """A registry process.

    Args:
        directory: for its content, its log and its certificates.
        login: whether it wants `LOGIN`, by the scheme Basic.
        tls: whether it speaks TLS, with a certificate of `ca`.
        client_ca: the authority whose certificates it wants from clients.
        tokens: the token server it sends clients to.
    """

    directory: Path
    login: bool = False
    tls: bool = False
    client_ca: Path | None = None
    tokens: TokenServer | None = None
    ca: bytes = b""
    port: int = 0
    _program: Program = field(init=False)
    _seen: int = 0

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        config = self.directory / "config.json"  # JSON is YAML
        config.write_text(json.dumps(self._config()))
        self._program = Program(self.directory, "registry")
        program = toolcache.ensure(toolcache.REGISTRY) / "registry"
        self._program.start([program, "serve", config], {"OTEL_TRACES_EXPORTER": "none"})
        self._await_port()
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        """Return the ``oci://`` URL of a repository."""
        return f"oci://{self.host}/{path}"

    def name(self, path: str) -> Name:
        """Return the name of a repository."""
        return names.parse(self.url(path))

    def requests(self) -> list[str]:
        """Return what was asked since the last call, as ``HEAD /v2/… 200``."""
        text = self._program.log.read_text(errors="replace")
        found = [f"{method} {path} {status}" for method, path, status in _ACCESS.findall(text)]
        new = found[self._seen :]
        self._seen = len(found)
        return new

    def push(
        self,
        path: str,
        tag: str,
        files: Mapping[str, str] | None = None,
        *,
        layers: Sequence[Layer] = (),
        annotations: Mapping[str, str] | None = None,
        config: tuple[str, bytes] = (manifests.FLUX_CONFIG, b"{}"),
        **fields: Any,
    ) -> str:
        """Push an artifact laid out as ``flux push artifact`` does.

        Args:
            path: the repository.
            tag: what to call it.
            files: the content of its one layer.
            layers: the layers instead.
            annotations: of the manifest.
            config: media type and content.
            fields: further fields of the manifest, such as ``subject``.

        Returns:
            The digest of the manifest.
        """
        pushed = layers or (Layer(tarball(files or {})),)
        manifest = {
            "schemaVersion": 2,
            "mediaType": manifests.OCI_MANIFEST,
            "config": self.push_blob(path, config[1], config[0]),
            "layers": [self.push_blob(path, each.content, each.media_type) for each in pushed],
            "annotations": dict(annotations or {}),
            **fields,
        }
        return self.push_manifest(path, tag, json.dumps(manifest).encode())

    def push_blob(self, path: str, content: bytes, media_type: str) -> dict[str, Any]:
        """Push a blob and return its descriptor."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        location = self._send("POST", f"/v2/{path}/blobs/uploads/")["Location"]
        separator = "&" if "?" in location else "?"
        target = location.replace(self._origin, "")
        self._send(
            "PUT",
            f"{target}{separator}digest={digest}",
            content,
            {"Content-Type": "application/octet-stream"},
        )
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def push_manifest(
        self, path: str, tag: str, content: bytes, media_type: str = manifests.OCI_MANIFEST
    ) -> str:
        """Push a manifest or an index under a tag and return its digest."""
        self._send("PUT", f"/v2/{path}/manifests/{tag}", content, {"Content-Type": media_type})
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def push_index(self, path: str, tag: str, entries: Sequence[Mapping[str, Any]]) -> str:
        """Push an index of some descriptors under a tag and return its digest."""
        index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": [*entries]}
        return self.push_manifest(path, tag, json.dumps(index).encode(), manifests.OCI_INDEX)

    def descriptor(self, path: str, reference: str) -> dict[str, Any]:
        """Return the descriptor of a manifest."""
        headers = self._send("HEAD", f"/v2/{path}/manifests/{reference}", headers=_ANY)
        return {
            "mediaType": headers["Content-Type"],
            "digest": headers["Docker-Content-Digest"],
            "size": int(headers["Content-Length"]),
        }

    def delete(self, path: str, digest: str) -> None:
        """Delete a manifest, and its tags with it."""
        self._send("DELETE", f"/v2/{path}/manifests/{digest}")

    @property
    def _origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def _send(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, str]:
        own = dict(headers or {})
        if self.login:
            pair = f"{LOGIN.username}:{LOGIN.password}".encode()
            own["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        request = urllib.request.Request(self._origin + path, data, own, method=method)
        context = ssl.create_default_context(cadata=self.ca.decode()) if self.tls else None
        with urllib.request.urlopen(request, timeout=_START_S, context=context) as answer:
            return dict(answer.headers)

    def _config(self) -> dict[str, Any]:
        http: dict[str, Any] = {"addr": self.host, "secret": "for-tests-alone"}
        if self.tls:
            authority = certificates.Authority(self.directory / "authority")
            self.ca = authority.certificate_path.read_bytes()
            pair = authority.issue("registry", hosts=("127.0.0.1", "localhost"))
            for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
                (self.directory / name).write_bytes(content)
            http["tls"] = {
                "certificate": str(self.directory / "tls.crt"),
                "key": str(self.directory / "tls.key"),
            }
            if self.client_ca:
                http["tls"]["clientcas"] = [str(self.client_ca)]
        return {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.directory / "content")},
                "delete": {"enabled": True},
            },
            "http": http,
            **self._auth(),
        }

    def _auth(self) -> dict[str, Any]:
        if self.tokens:
            token = {
                "realm": self.tokens.realm,
                "service": self.tokens.service,
                "issuer": self.tokens.issuer,
                "rootcertbundle": str(self.tokens.certificates),
            }
            return {"auth": {"token": token}}
        if self.login:
            (self.directory / "htpasswd").write_text(_HTPASSWD)
            file = str(self.directory / "htpasswd")
            return {"auth": {"htpasswd": {"realm": "tests", "path": file}}}
        return {}

    def _await_port(self) -> None:
        deadline = time.monotonic() + _START_S
        pause = threading.Event()
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                self._program.check()
                if time.monotonic() > deadline:
                    raise
                pause.wait(0.02)
            else:
                return


def tarball(files: Mapping[str, str]) -> bytes:
    """Return a ``tar.gz`` of some files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            data = text.encode()
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(content.getvalue(), mtime=0)


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
