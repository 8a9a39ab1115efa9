"""Names of repositories in registries, as ``oci://`` URLs write them.

The rules are those of the library that Flux uses: without a host in front the repository is one of
Docker Hub, and hosts that can only be near (loopback, private addresses, ``.local``) may be spoken
to in clear where they do not speak TLS.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

SCHEME: Final = "oci://"
DOCKER_HUB: Final = "index.docker.io"
"""What Docker Hub is called in names and in docker config files."""
LENGTH: Final = 255
"""Characters that the path of a repository may have."""
DEFAULT_TAG: Final = "latest"

_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_HOST = re.compile(
    r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LOCAL = re.compile(r".*\.local(?:host)?")


class InvalidNameError(ValueError):
    """Text that names no repository, tag or digest."""


@dataclass(frozen=True, slots=True)
class Name:
    """A repository in a registry."""

    host: str
    """Host name or address, with the port where it is not the scheme's own."""
    path: str
    """Such as ``stefanprodan/manifests/podinfo``."""

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def is_near(self) -> bool:
        """Whether the host can only be this machine or one in a private network."""
        bare = re.sub(r":\d+$", "", self.host).strip("[]")
        if bare == "localhost" or _LOCAL.fullmatch(bare):
            return True
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            return False
        return address.is_loopback or (address.is_private and address.version == 4)


def parse(url: str) -> Name:
    """Return the repository that ``oci://host/path`` names; the scheme may be absent.

    Raises:
        InvalidNameError: it names none, or a tag or digest with it.
    """
    text = url.removeprefix(SCHEME).rstrip("/")
    host, _, path = text.partition("/")
    is_host = host == "localhost" or "." in host or ":" in host
    if not is_host:
        host, path = DOCKER_HUB, text
    if host in {"docker.io", "registry-1.docker.io"}:
        host = DOCKER_HUB
    if not _HOST.fullmatch(host) or not path:
        raise InvalidNameError("URL must be in format 'oci://<domain>/<org>/<repo>'")
    if found := re.search(r"[:@].*", path):
        raise InvalidNameError(f"URL must not contain a tag; remove '{found[0]}'")
    if len(path) > LENGTH or not _PATH.fullmatch(path):
        raise InvalidNameError(
            f"'{path}' is no name of a repository: small letters, digits, '.', '_', '-' and '/'"
        )
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return Name(host, path)


def check_tag(tag: str) -> str:
    """Return a tag.

    Raises:
        InvalidNameError: it is none.
    """
    if not _TAG.fullmatch(tag):
        raise InvalidNameError(f"'{tag}' is no tag")
    return tag


def check_digest(digest: str) -> str:
    """Return a digest, such as ``sha256:<64 hex digits>``.

    Raises:
        InvalidNameError: it is none, or of an algorithm that registries do not use.
    """
    if not _DIGEST.fullmatch(digest):
        raise InvalidNameError(f"'{digest}' is no digest such as sha256:<64 hexadecimal digits>")
    return digest
