"""SSH keys from Secrets."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from runtime import privatefile
from sources.auth import ssh
from sources.auth.errors import CredentialsError

NAME = "apps/git"
HOSTS = b"host ssh-ed25519 AAAA"


def pem(kind: str, body: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b\n-----END %b-----" % (kind.encode(), body, kind.encode())


def openssh(cipher: bytes) -> bytes:
    content = b"openssh-key-v1\0" + len(cipher).to_bytes(4, "big") + cipher + b"\0" * 40
    return pem("OPENSSH PRIVATE KEY", base64.encodebytes(content))


PLAIN = openssh(b"none")


def test_key_and_hosts_end_with_a_line_break_that_openssh_needs() -> None:
    found = ssh.from_secret({"identity": PLAIN + b"\r\n", "known_hosts": HOSTS}, NAME)
    assert found.private_key.endswith(b"PRIVATE KEY-----\n")
    assert found.known_hosts == HOSTS + b"\n"


def test_line_ends_of_windows_are_taken_out() -> None:
    data = {"identity": PLAIN.replace(b"\n", b"\r\n"), "known_hosts": HOSTS}
    assert b"\r" not in ssh.from_secret(data, NAME).private_key


@pytest.mark.parametrize(
    ("key", "is_encrypted"),
    [
        (PLAIN, False),
        (openssh(b"aes256-ctr"), True),
        (pem("RSA PRIVATE KEY", b"AAAA"), False),
        (pem("RSA PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA"), True),
        (pem("PRIVATE KEY", b"AAAA"), False),
        (pem("ENCRYPTED PRIVATE KEY", b"AAAA"), True),
        (pem("OPENSSH PRIVATE KEY", b"!"), False),
        (b"nonsense", False),
    ],
)
def test_encrypted_keys_are_told_by_their_format(key: bytes, *, is_encrypted: bool) -> None:
    assert ssh.is_encrypted(key) is is_encrypted


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "key 'identity' is missing or empty, which an ssh URL needs"),
        ({"username": b"ada"}, "key 'identity' is missing or empty"),
        ({"identity": PLAIN}, "key 'known_hosts' is missing or empty"),
        ({"identity": PLAIN, "known_hosts": b" \n"}, "key 'known_hosts' is missing or empty"),
        ({"identity": b"ssh-ed25519 AAAA", "known_hosts": HOSTS}, "key 'identity' is no private"),
        (
            {"identity": openssh(b"aes256-ctr"), "known_hosts": HOSTS},
            "SSH identity key is encrypted but no 'password' field was provided in the secret",
        ),
    ],
)
def test_secret_that_cannot_be_used_is_named(data: dict[str, bytes], text: str) -> None:
    with pytest.raises(CredentialsError, match=text) as caught:
        ssh.from_secret(data, NAME)
    assert f"'{NAME}'" in str(caught.value)


def test_nothing_secret_is_shown() -> None:
    data = {"identity": PLAIN, "known_hosts": HOSTS, "password": b"hunter2"}
    assert repr(ssh.from_secret(data, NAME)) == "Identity()"


@pytest.mark.parametrize("mode", [0o600, 0o700])
def test_private_file_is_there_for_the_block_only(mode: int) -> None:
    with privatefile.holding(b"secret", mode=mode) as path:
        assert Path(path).read_bytes() == b"secret"
        assert Path(path).stat().st_mode & 0o777 == mode
    assert not Path(path).exists()


def test_private_file_elsewhere_is_there_for_the_block_only() -> None:
    lent = privatefile._in_folder(b"secret", 0o600)
    path = Path(next(lent))
    assert path.read_bytes() == b"secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not list(lent)
    assert not path.exists()
