"""Real age and OpenPGP keys, and files encrypted for them by the real sops."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from devcluster import toolcache

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
ONLY_DATA: Final = "^(data|stringData)$"
"""What of a manifest people encrypt."""


@dataclass(frozen=True, slots=True)
class AgeKey:
    """An age key pair."""

    identity: str
    recipient: str


def age_key() -> AgeKey:
    """Make an age key pair, as ``age-keygen`` does."""
    secret = X25519PrivateKey.generate()
    identity = _bech32("age-secret-key-", secret.private_bytes_raw()).upper()
    return AgeKey(identity, _bech32("age", secret.public_key().public_bytes_raw()))


@dataclass(frozen=True, slots=True)
class PgpKey:
    """An OpenPGP key in a key ring of its own."""

    home: Path
    fingerprint: str
    private: bytes
    """ASCII armour."""


@contextmanager
def pgp_key() -> Iterator[PgpKey]:
    """Make an OpenPGP key without passphrase; its key ring is there for the time of the block."""
    home = Path(tempfile.mkdtemp(prefix="gpg-"))
    env = os.environ | {"GNUPGHOME": str(home)}
    gpg = ["gpg", "--batch", "--no-tty", "--passphrase", ""]
    try:
        subprocess.run(
            [*gpg, "--quick-gen-key", "test@example.com", "future-default", "default", "never"],
            env=env,
            check=True,
            capture_output=True,
        )
        listed = subprocess.check_output([*gpg, "--list-keys", "--with-colons"], env=env)
        fingerprint = next(
            line.split(":")[9] for line in listed.decode().splitlines() if line.startswith("fpr:")
        )
        private = subprocess.check_output([*gpg, "--armor", "--export-secret-keys"], env=env)
        yield PgpKey(home, fingerprint, private)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=env, check=False)
        shutil.rmtree(home, ignore_errors=True)


@cache
def sops_program() -> Path:
    """Return the pinned sops, built the first time."""
    return toolcache.ensure(toolcache.SOPS) / "sops"


@dataclass(frozen=True, slots=True)
class CloudKey:
    """A key in a cloud."""

    option: str
    """Of sops, such as ``--kms``."""
    name: str
    env: dict[str, str]
    """Of who may use it, and where it is asked for."""


def seal(
    text: str | bytes, key: AgeKey | PgpKey | CloudKey, kind: str = "yaml", *, only: str = ONLY_DATA
) -> str:
    """Encrypt a text.

    Args:
        text: what to encrypt.
        key: for whom.
        kind: yaml, json, dotenv, ini or binary.
        only: the keys whose values are encrypted; empty for all.
    """
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    if isinstance(key, PgpKey):
        env["GNUPGHOME"] = str(key.home)
        whom = ["--pgp", key.fingerprint]
    elif isinstance(key, CloudKey):
        env |= key.env
        whom = [key.option, key.name]
    else:
        whom = ["--age", key.recipient]
    argv = [str(sops_program()), "encrypt", *whom, "--input-type", kind, "--output-type", kind]
    argv += ["--encrypted-regex", only] if only else []
    argv += ["--filename-override", "file"]
    data = text.encode() if isinstance(text, str) else text
    done = subprocess.run(argv, input=data, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def _bech32(prefix: str, data: bytes) -> str:
    """Encode bytes as BIP 173 says, without its limit on length."""
    values, pending, bits = [], 0, 0
    for byte in data:
        pending, bits = (pending << 8) | byte, bits + 8
        while bits >= 5:
            bits -= 5
            values.append(pending >> bits & 31)
    if bits:
        values.append(pending << (5 - bits) & 31)
    spread = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    check = _checksum([*spread, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [check >> 5 * (5 - place) & 31 for place in range(6)]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values)}"


def _checksum(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            check ^= generator if top >> place & 1 else 0
    return check
