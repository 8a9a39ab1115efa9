"""Logins to registries, read from docker config Secrets.

A config holds one entry for a registry, or for a path in it; the most specific that matches a
repository is presented, as the kubelet and Flux do it. Hosts may hold wildcards, one label each
(``*.azurecr.io``); paths match as prefixes.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from sources.auth import basic, tls
from sources.auth.errors import CredentialsError
from sources.oci import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sources.oci.names import Name

CONFIG_KEY: Final = ".dockerconfigjson"
LEGACY_KEY: Final = ".dockercfg"
"""The older layout: what is under ``auths`` alone."""
_HUBS: Final = frozenset({"docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True)
class Login:
    """What to present to a registry; empty to be nobody."""

    username: str = ""
    password: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    """An identity token, exchanged for access tokens; it stands instead of a password."""
    access_token: str = field(default="", repr=False)
    """A token for the registry itself; it stands instead of everything else."""

    @property
    def is_anonymous(self) -> bool:
        """Whether there is nothing to present."""
        return self == ANONYMOUS

    @property
    def basic(self) -> str:
        """The header of the scheme ``Basic``, ``""`` where there is no password."""
        return basic.header(self.username, self.password) if self.username else ""

    @property
    def identity(self) -> bytes:
        """A digest that differs for different logins and tells nothing of them."""
        parts = (self.username, self.password, self.refresh_token, self.access_token)
        return tls.digest(b"registry", *(part.encode() for part in parts))


ANONYMOUS: Final = Login()


class _Entry(msgspec.Struct, frozen=True):
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _Config(msgspec.Struct, frozen=True):
    auths: dict[str, _Entry] = {}


@dataclass(frozen=True, slots=True)
class Keychain:
    """The logins of one or several docker configs, the most specific first."""

    entries: tuple[tuple[str, Login], ...] = field(default=(), repr=False)

    def login(self, name: Name) -> Login:
        """Return the login for a repository, `ANONYMOUS` where there is none."""
        return next((login for key, login in self.entries if _matches(key, str(name))), ANONYMOUS)


def from_secret(data: Mapping[str, bytes], name: str) -> Keychain:
    """Read the logins that a Secret of type ``kubernetes.io/dockerconfigjson`` holds.

    Args:
        data: the Secret's decoded ``data``.
        name: ``namespace/name``, for messages.

    Raises:
        CredentialsError: it holds no docker config, or one that cannot be read.
    """
    try:
        if content := data.get(CONFIG_KEY):
            auths = msgspec.json.decode(content, type=_Config).auths
        elif content := data.get(LEGACY_KEY):
            auths = msgspec.json.decode(content, type=dict[str, _Entry])
        else:
            raise CredentialsError(f"secret '{name}' has no '{CONFIG_KEY}'")
    except msgspec.MsgspecError as err:
        # What the parser says may quote what it met, which is a password.
        raise CredentialsError(f"secret '{name}': '{CONFIG_KEY}' is no docker config") from err
    return Keychain(
        tuple(
            sorted(
                ((_key(registry), _login(entry, name)) for registry, entry in auths.items()),
                key=lambda pair: pair[0],
                reverse=True,
            )
        )
    )


def combine(keychains: Iterable[Keychain]) -> Keychain:
    """Return all logins as one keychain; of equally specific ones the first is presented."""
    entries = [entry for each in keychains for entry in each.entries]
    return Keychain(tuple(sorted(entries, key=lambda pair: pair[0], reverse=True)))


def _key(registry: str) -> str:
    """Return the host, and the path if any, that an entry is for."""
    bare = registry.split("://", 1)[-1]
    host, _, path = bare.partition("/")
    if path.startswith(("v1/", "v2/")) or path in {"v1", "v2"}:
        path = path[3:]
    host = names.DOCKER_HUB if host in _HUBS else host
    return f"{host}/{path}".rstrip("/")


def _login(entry: _Entry, name: str) -> Login:
    username, password = entry.username, entry.password
    if entry.auth and not (username or password):
        try:
            text = base64.b64decode(entry.auth, validate=True).decode().rstrip("\r\n\0")
        except (binascii.Error, UnicodeDecodeError) as err:
            raise CredentialsError(f"secret '{name}': an 'auth' is not base64") from err
        username, colon, password = text.partition(":")
        if not colon:
            raise CredentialsError(f"secret '{name}': an 'auth' is not user:password in base64")
    return Login(username, password, entry.identitytoken, entry.registrytoken)


def _matches(pattern: str, target: str) -> bool:
    pattern_host, _, pattern_path = pattern.partition("/")
    host, _, path = target.partition("/")
    if not path.startswith(pattern_path):
        return False
    if "[" in pattern_host:  # an IPv6 address, in which brackets are no wildcard
        return pattern_host == host
    patterns, labels = re.split(r"[.:]", pattern_host), re.split(r"[.:]", host)
    is_port_named = (":" in pattern_host, ":" in host)
    return (
        is_port_named[0] == is_port_named[1]
        and len(patterns) == len(labels)
        and all(map(fnmatch.fnmatchcase, labels, patterns))
    )
