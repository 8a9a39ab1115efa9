"""Signatures of commits and tags, checked by the official ``gpg`` and ``ssh-keygen``.

Each check has a home of its own with nothing but the given keys in it, and reaches no agent, no
network and no keyring of the user's. The child processes get public keys and what was signed;
nothing here is secret.

::

    ValueError
    └── SignatureError    the signature is missing, not ours to check, or not by one of the keys
"""

from __future__ import annotations

import base64
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime import process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.limits import Processes, Threads

PGP_SUFFIX: Final = ".asc"
SSH_SUFFIX: Final = ".sshpub"
TIMEOUT_S: Final = 30.0
"""Seconds that one program may take."""

_PROGRAMS: Final = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin"
_PACKAGES: Final = {"gpg": "gnupg", "ssh-keygen": "openssh-client"}
_PGP: Final = b"-----BEGIN PGP SIGNATURE-----"
_SSH: Final = b"-----BEGIN SSH SIGNATURE-----"
_X509: Final = b"-----BEGIN SIGNED MESSAGE-----"
_KINDS: Final = ((_PGP, "openpgp"), (_SSH, "ssh"), (_X509, "x509"))
_FIELD_END: Final = re.compile(rb"\n(?! )")
_SIGNATURES: Final = (b"gpgsig ", b"gpgsig-sha256 ")
_TAG_SIGNATURE: Final = re.compile(
    rb"^-----BEGIN (?:PGP SIGNATURE|SSH SIGNATURE|SIGNED MESSAGE)-----", re.MULTILINE
)
_KEY_TYPE: Final = re.compile(
    r"(?:^|\s)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)[a-z0-9.@-]*) ([A-Za-z0-9+/]+={0,2})(?=\s|$)"
)
_QUOTED: Final = re.compile(r'"(?:\\.|[^"\\])*"')
_NO_PGP_MATCH: Final = "unable to verify payload with any of the given key rings"
_NO_SSH_MATCH: Final = "unable to verify payload with any of the given authorized keys"
_SIGNER: Final = "author"
_GOOD_SSH: Final = re.compile(r'Good "git" signature for .* key (SHA256:[A-Za-z0-9+/]+)')
_BAD_PGP: Final = frozenset({"BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG"})
_WEAK_DIGESTS: Final = frozenset({"1", "2", "3"})
"""MD5, SHA-1 and RIPEMD-160 in OpenPGP; Flux takes none of them either."""
_GPG: Final = (
    "gpg",
    "--batch",
    "--no-tty",
    "--no-options",
    "--no-autostart",
    "--no-auto-key-retrieve",
    "--no-auto-check-trustdb",
    "--disable-dirmngr",
    "--trust-model=always",
    "--status-fd=1",
)


class SignatureError(ValueError):
    """A signature that does not verify; the text says why, in Flux's words where it has some."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The public keys of those who may sign."""

    pgp: tuple[bytes, ...] = ()
    """OpenPGP keyrings."""
    ssh: tuple[str, ...] = ()
    """Files in the format of ``authorized_keys``."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed, and the signature."""

    what: str
    """``commit`` or ``tag``."""
    payload: bytes
    signature: bytes
    """In its armour; empty where there is none."""

    @property
    def kind(self) -> str:
        """``openpgp``, ``ssh``, ``x509``, ``empty`` or ``unknown``."""
        if not self.signature.strip():
            return "empty"
        text = self.signature.lstrip()
        return next((kind for start, kind in _KINDS if text.startswith(start)), "unknown")


def keys(data: Mapping[str, bytes]) -> Keys:
    """Read the keys of a Secret: SSH keys under ``*.sshpub``, OpenPGP keyrings under all others."""
    ssh = [
        value.decode("utf-8", "replace")
        for name, value in sorted(data.items())
        if name.endswith(SSH_SUFFIX)
    ]
    pgp = [value for name, value in sorted(data.items()) if not name.endswith(SSH_SUFFIX)]
    return Keys(tuple(pgp), tuple(ssh))


def of_commit(raw: bytes) -> Signed:
    """Take a commit, as it is in Git, and its signature apart."""
    headers, separator, message = raw.partition(b"\n\n")
    fields = _FIELD_END.split(headers)
    kept = [field for field in fields if not field.startswith(_SIGNATURES)]
    found = [field for field in fields if field.startswith(_SIGNATURES[0])]
    signature = found[0].removeprefix(_SIGNATURES[0]).replace(b"\n ", b"\n") if found else b""
    return Signed("commit", b"\n".join(kept) + separator + message, signature)


def of_tag(raw: bytes) -> Signed:
    """Take an annotated tag, as it is in Git, and the signature at its end apart."""
    found = list(_TAG_SIGNATURE.finditer(raw))
    if not found:
        return Signed("tag", raw, b"")
    start = found[-1].start()
    return Signed("tag", raw[:start], raw[start:])


def tagged(raw: bytes) -> tuple[str, str]:
    """Return the object that an annotated tag stands for, and the tag's own name."""
    headers = dict(line.partition(b" ")[::2] for line in raw.partition(b"\n\n")[0].split(b"\n"))
    return headers.get(b"object", b"").decode(), headers.get(b"tag", b"").decode("utf-8", "replace")


class Verifier:
    """Checks signatures.

    Args:
        processes: runs the programs.
        threads: makes and removes homes.
    """

    def __init__(self, processes: Processes, threads: Threads) -> None:
        self._processes = processes
        self._threads = threads

    async def verify(self, signed: Signed, by: Keys) -> str:
        """Return the id (OpenPGP) or the fingerprint (SSH) of the key that signed.

        Raises:
            SignatureError: none of the keys did.
            process.ProcessError: the program is not installed, or did not end.
        """
        home = Path(await self._threads.run(tempfile.mkdtemp, prefix="gitopsd-signature-"))
        try:
            match signed.kind:
                case "openpgp":
                    return await self._openpgp(signed, by.pgp, home)
                case "ssh":
                    return await self._ssh(signed, by.ssh, home)
                case kind:
                    raise SignatureError(f"unsupported signature type: {kind}")
        finally:
            await self._threads.run(shutil.rmtree, home, ignore_errors=True)

    async def _openpgp(self, signed: Signed, rings: Sequence[bytes], home: Path) -> str:
        if not rings:
            raise SignatureError(
                "PGP signature detected but no PGP public keys found in secret "
                f"(keys with {PGP_SUFFIX} suffix)"
            )
        imported = [await self._run([*_GPG, "--import"], home, ring) for ring in rings]
        problem = f"unable to verify Git {signed.what}"
        if not any("IMPORT_OK" in _status(done) for done in imported):
            raise SignatureError(
                f"{problem}: unable to read armored key ring: there is no public key in it"
            )
        file = home / "signature.asc"
        await self._threads.run(file.write_bytes, signed.signature)
        done = await self._run([*_GPG, "--verify", file.name, "-"], home, signed.payload)
        status = _status(done)
        words = status.get("VALIDSIG", [])
        is_good = not done.returncode and len(words) >= 10 and bool(status.get("GOODSIG"))
        if not is_good or _BAD_PGP & set(status):
            raise SignatureError(f"{problem}: {_NO_PGP_MATCH}: {_openpgp_problem(status)}")
        if words[7] in _WEAK_DIGESTS:
            raise SignatureError(f"{problem}: it is by a digest that can be forged, such as SHA-1")
        return words[9][-16:]

    async def _ssh(self, signed: Signed, files: Sequence[str], home: Path) -> str:
        if not files:
            raise SignatureError(
                "SSH signature detected but no SSH public keys found in secret "
                f"(keys with {SSH_SUFFIX} suffix)"
            )
        problem = f"unable to verify Git {signed.what} SSH signature"
        allowed, signature = home / "allowed", home / "signature"
        await self._threads.run(allowed.write_text, _allowed_signers(files, problem))
        await self._threads.run(signature.write_bytes, signed.signature.strip() + b"\n")
        argv = ["ssh-keygen", "-Y", "verify", "-f", allowed.name, "-I", _SIGNER, "-n", "git"]
        done = await self._run([*argv, "-s", signature.name], home, signed.payload)
        good = _GOOD_SSH.search(done.stdout.decode("utf-8", "replace"))
        if done.returncode or good is None:
            raise SignatureError(f"{problem}: {_NO_SSH_MATCH}: no matching key")
        return good[1]

    async def _run(self, argv: Sequence[str], home: Path, text: bytes) -> process.Completed:
        env = {"HOME": str(home), "GNUPGHOME": str(home), "PATH": _PROGRAMS, "LC_ALL": "C"}
        program = await self._threads.run(shutil.which, argv[0], path=_PROGRAMS)
        if program is None:
            raise process.ProcessNotFound(
                f"the program {argv[0]} is not installed; it is part of {_PACKAGES[argv[0]]}"
            )
        return await self._processes.run(
            [program, *argv[1:]], cwd=home, env=env, input=text, timeout_s=TIMEOUT_S
        )


def _status(done: process.Completed) -> dict[str, list[str]]:
    """Return the words behind each keyword of gpg's status lines; of several, the last one's.

    A keyword that must come once and comes twice stands for nothing: then it has no words.
    """
    found: dict[str, list[str]] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("[GNUPG:] "):
            keyword, *words = line.split()[1:]
            found[keyword] = [] if keyword in found and keyword != "IMPORT_OK" else words
    return found


def _openpgp_problem(status: Mapping[str, list[str]]) -> str:
    for keyword, text in (
        ("EXPKEYSIG", "the key has expired"),
        ("REVKEYSIG", "the key was revoked"),
        ("EXPSIG", "the signature has expired"),
        ("BADSIG", "the signature is not of this content"),
    ):
        if keyword in status:
            return text
    return "no matching key"


def _allowed_signers(files: Sequence[str], problem: str) -> str:
    """Return the keys of all files that parse, as ``ssh-keygen`` wants them.

    Raises:
        SignatureError: no file parses.
    """
    found: list[str] = []
    failures: list[ValueError] = []
    for text in files:
        try:
            found += _authorized(text)
        except ValueError as err:
            failures.append(err)
    if failures and len(failures) == len(files):
        raise SignatureError(f"{problem}: unable to parse authorized keys: {failures[0]}")
    return "".join(f"{_SIGNER} {key}\n" for key in found)


def _authorized(text: str) -> list[str]:
    """Return type and content of each key; options before them, and comments, are left out.

    Raises:
        ValueError: a line holds no key.
    """
    lines = [line.strip() for line in text.splitlines()]
    return [_key(line) for line in lines if line and not line.startswith("#")]


def _key(line: str) -> str:
    found = _KEY_TYPE.search(_QUOTED.sub("", line))
    if found is None:
        raise ValueError("a line holds no ssh key")
    kind, content = found.groups()
    name = kind.encode()
    if not base64.b64decode(content).startswith(len(name).to_bytes(4, "big") + name):
        raise ValueError(f"a line holds no key of type {kind}")
    return f"{kind} {content}"
