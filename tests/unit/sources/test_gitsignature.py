"""Signatures made by the real git with real keys, and what is said of those that do not hold."""

from __future__ import annotations

import asyncio
import subprocess
from functools import cache
from typing import TYPE_CHECKING

import pytest

from devcluster.gitrepo import Repo, git
from runtime import process
from runtime.limits import Processes, Threads
from runtime.metrics import Metrics
from sources import gitsignature
from sources.gitsignature import Keys, SignatureError, Signed
from tests.support import signing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.signing import Signer

NO_PGP = "unable to verify Git commit: unable to verify payload with any of the given key rings: "
NO_SSH = (
    "unable to verify Git commit SSH signature: "
    "unable to verify payload with any of the given authorized keys: no matching key"
)


@pytest.fixture(scope="module")
def pgp() -> Iterator[Signer]:
    with signing.pgp() as signer:
        yield signer


@pytest.fixture(scope="module")
def other_pgp() -> Iterator[Signer]:
    with signing.pgp() as signer:
        yield signer


@pytest.fixture(scope="module")
def ssh() -> Iterator[Signer]:
    with signing.ssh() as signer:
        yield signer


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    folder = tmp_path_factory.mktemp("signed")
    return Repo(folder / "a.git", folder / "a.work")


@pytest.fixture
async def verifier() -> AsyncIterator[gitsignature.Verifier]:
    threads = Threads()
    yield gitsignature.Verifier(Processes(Metrics()), threads)
    await threads.aclose()


def raw(repo: Repo, sha: str) -> bytes:
    """Return an object as it is in Git."""
    kind = git(repo.work, "cat-file", "-t", sha)
    return subprocess.check_output(["git", "-C", repo.work, "cat-file", kind, sha])


@cache
def signed_by(signer: Signer, repo: Repo) -> Signed:
    """Return a commit that somebody signed, the same one each time."""
    return gitsignature.of_commit(raw(repo, signer.commit(repo, {"a": signer.name})))


def keys(*signers: Signer) -> Keys:
    return gitsignature.keys({f"{n}{each.suffix}": each.public for n, each in enumerate(signers)})


@pytest.mark.parametrize("name", ["pgp", "ssh"])
async def test_commit_and_tag_are_verified_and_the_key_is_named(
    verifier: gitsignature.Verifier, repo: Repo, request: pytest.FixtureRequest, name: str
) -> None:
    signer: Signer = request.getfixturevalue(name)
    commit = raw(repo, signer.commit(repo, {"a": name}, "Über alles\n\n with a body\n"))
    tag = raw(repo, signer.tag(repo, f"v-{name}"))
    by = keys(signer)
    assert await verifier.verify(gitsignature.of_commit(commit), by) == signer.name
    assert await verifier.verify(gitsignature.of_tag(tag), by) == signer.name
    assert gitsignature.tagged(tag) == (repo.head, f"v-{name}")


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
async def test_other_kinds_of_ssh_keys(
    verifier: gitsignature.Verifier, repo: Repo, kind: str
) -> None:
    with signing.ssh(kind) as signer:
        signed = gitsignature.of_commit(raw(repo, signer.commit(repo, {"a": kind})))
        assert await verifier.verify(signed, keys(signer)) == signer.name


async def test_one_of_many_keys_is_enough(
    verifier: gitsignature.Verifier, repo: Repo, pgp: Signer, other_pgp: Signer, ssh: Signer
) -> None:
    signed = signed_by(pgp, repo)
    assert await verifier.verify(signed, keys(ssh, other_pgp, pgp)) == pgp.name
    signed = signed_by(ssh, repo)
    assert await verifier.verify(signed, keys(other_pgp, pgp, ssh)) == ssh.name


async def test_secret_with_a_broken_key_goes_by_the_others(
    verifier: gitsignature.Verifier, repo: Repo, pgp: Signer, ssh: Signer
) -> None:
    data = {"a.asc": b"nonsense", "b.asc": pgp.public, "a.sshpub": b"ssh", "b.sshpub": ssh.public}
    by = gitsignature.keys(data)
    for signer in (pgp, ssh):
        signed = signed_by(signer, repo)
        assert await verifier.verify(signed, by) == signer.name


async def test_key_under_any_other_name_counts_as_a_keyring(
    verifier: gitsignature.Verifier, repo: Repo, pgp: Signer
) -> None:
    signed = signed_by(pgp, repo)
    assert await verifier.verify(signed, gitsignature.keys({"ada": pgp.public})) == pgp.name


async def test_authorized_keys_may_have_options_comments_and_empty_lines(
    verifier: gitsignature.Verifier, repo: Repo, ssh: Signer
) -> None:
    text = b'# of Ada\n\nfrom="10.0.0.0/8,ssh-rsa x",no-pty ' + ssh.public + b"\n"
    signed = signed_by(ssh, repo)
    assert await verifier.verify(signed, gitsignature.keys({"a.sshpub": text})) == ssh.name


async def test_key_of_somebody_else_does_not_verify(
    verifier: gitsignature.Verifier, repo: Repo, pgp: Signer, other_pgp: Signer, ssh: Signer
) -> None:
    signed = signed_by(pgp, repo)
    with pytest.raises(SignatureError) as caught:
        await verifier.verify(signed, keys(other_pgp))
    assert str(caught.value) == f"{NO_PGP}no matching key"
    signed = signed_by(ssh, repo)
    with signing.ssh() as other, pytest.raises(SignatureError) as caught:
        await verifier.verify(signed, keys(other))
    assert str(caught.value) == NO_SSH


@pytest.mark.parametrize("name", ["pgp", "ssh"])
async def test_signature_of_another_content_does_not_verify(
    verifier: gitsignature.Verifier, repo: Repo, request: pytest.FixtureRequest, name: str
) -> None:
    signer: Signer = request.getfixturevalue(name)
    commit = raw(repo, signer.commit(repo, {"a": "1"}, "Harmless"))
    forged = gitsignature.of_commit(commit.replace(b"Harmless", b"Harmful!"))
    with pytest.raises(SignatureError, match="unable to verify payload"):
        await verifier.verify(forged, keys(signer))


async def test_ssh_signature_for_another_purpose_does_not_verify(
    verifier: gitsignature.Verifier, tmp_path: Path
) -> None:
    with signing.ssh() as signer:
        key = signer.options[-1].partition("=")[2]
        (tmp_path / "text").write_bytes(b"payload")
        sign = ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "file", str(tmp_path / "text")]
        await asyncio.to_thread(subprocess.check_output, sign, stderr=subprocess.DEVNULL)
        signed = Signed("commit", b"payload", (tmp_path / "text.sig").read_bytes())
        with pytest.raises(SignatureError, match="no matching key"):
            await verifier.verify(signed, keys(signer))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            {},
            "PGP signature detected but no PGP public keys found in secret (keys with .asc suffix)",
        ),
        (
            {"a.asc": b"nonsense"},
            (
                "unable to verify Git commit: unable to read armored key ring: "
                "there is no public key in it"
            ),
        ),
    ],
)
async def test_openpgp_without_a_usable_key(
    verifier: gitsignature.Verifier, repo: Repo, pgp: Signer, data: dict[str, bytes], text: str
) -> None:
    signed = signed_by(pgp, repo)
    with pytest.raises(SignatureError) as caught:
        await verifier.verify(signed, gitsignature.keys(data))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            {"a": b""},
            (
                "SSH signature detected but no SSH public keys found in secret "
                "(keys with .sshpub suffix)"
            ),
        ),
        (
            {"a.sshpub": b"ssh-ed25519 AAAA"},
            (
                "unable to verify Git commit SSH signature: unable to parse authorized keys: "
                "a line holds no key of type ssh-ed25519"
            ),
        ),
        ({"a.sshpub": b"hello"}, "a line holds no ssh key"),
        ({"a.sshpub": b"# nobody\n"}, NO_SSH),
    ],
)
async def test_ssh_without_a_usable_key(
    verifier: gitsignature.Verifier, repo: Repo, ssh: Signer, data: dict[str, bytes], text: str
) -> None:
    signed = signed_by(ssh, repo)
    with pytest.raises(SignatureError) as caught:
        await verifier.verify(signed, gitsignature.keys(data))
    assert str(caught.value).endswith(text)


@pytest.mark.parametrize(
    ("signature", "kind"),
    [
        (b"", "empty"),
        (b"-----BEGIN SIGNED MESSAGE-----\nx", "x509"),
        (b"-----BEGIN PGP MESSAGE-----\nx", "unknown"),
    ],
)
async def test_signature_that_is_not_ours_to_check_is_named(
    verifier: gitsignature.Verifier, pgp: Signer, signature: bytes, kind: str
) -> None:
    with pytest.raises(SignatureError, match=f"unsupported signature type: {kind}"):
        await verifier.verify(Signed("commit", b"text", signature), keys(pgp))


async def test_expired_key_does_not_verify(verifier: gitsignature.Verifier) -> None:
    with signing.pgp_home() as gpg:
        gpg(
            "--faked-system-time=20200101T000000", "--quick-gen-key", "ada", "default", "sign", "1d"
        )
        signature = gpg("--faked-system-time=20200101T000100", "-a", "--detach-sign", text=b"text")
        by = Keys(pgp=(gpg("--armor", "--export"),))
    with pytest.raises(SignatureError, match="the key has expired"):
        await verifier.verify(Signed("commit", b"text", signature), by)


async def test_signature_by_a_weak_digest_does_not_verify(
    verifier: gitsignature.Verifier,
) -> None:
    with signing.pgp_home() as gpg:
        gpg("--quick-gen-key", "ada", "rsa2048", "sign", "never")
        signature = gpg("--digest-algo=SHA1", "--armor", "--detach-sign", text=b"text")
        by = Keys(pgp=(gpg("--armor", "--export"),))
    with pytest.raises(SignatureError, match="a digest that can be forged"):
        await verifier.verify(Signed("commit", b"text", signature), by)


async def test_revoked_key_does_not_verify(verifier: gitsignature.Verifier) -> None:
    with signing.pgp_home() as gpg:
        gpg("--quick-gen-key", "ada", "default", "sign", "never")
        signature = gpg("--armor", "--detach-sign", text=b"text")
        (revocation,) = gpg.home.glob("openpgp-revocs.d/*.rev")
        gpg("--import", text=revocation.read_bytes().replace(b":-----", b"-----"))
        by = Keys(pgp=(gpg("--armor", "--export"),))
    with pytest.raises(SignatureError, match="the key was revoked"):
        await verifier.verify(Signed("commit", b"text", signature), by)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pgp", "the program gpg is not installed; it is part of gnupg"),
        ("ssh", "the program ssh-keygen is not installed; it is part of openssh-client"),
    ],
)
async def test_missing_program_is_named(
    verifier: gitsignature.Verifier,
    repo: Repo,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
) -> None:
    signer: Signer = request.getfixturevalue(name)
    signed = signed_by(signer, repo)
    monkeypatch.setattr(gitsignature, "_PROGRAMS", "/nowhere")
    with pytest.raises(process.ProcessNotFound, match=text):
        await verifier.verify(signed, keys(signer))


def test_unsigned_objects_have_no_signature(repo: Repo) -> None:
    repo.push({"a": "unsigned"})
    repo.tag("plain", annotation="Release")
    commit, tag = raw(repo, repo.head), raw(repo, "refs/tags/plain")
    assert gitsignature.of_commit(commit) == Signed("commit", commit, b"")
    assert gitsignature.of_tag(tag) == Signed("tag", tag, b"")


def test_only_the_last_signature_of_a_tag_is_one(repo: Repo, ssh: Signer) -> None:
    ssh.tag(repo, "quoting")
    tag = raw(repo, "refs/tags/quoting")
    quoted = tag.replace(b"Release\n", b"-----BEGIN PGP SIGNATURE-----\nquoted\n")
    signed = gitsignature.of_tag(quoted)
    assert signed.kind == "ssh"
    assert b"quoted" in signed.payload


def test_every_signature_of_a_commit_is_left_out_of_what_was_signed() -> None:
    raw = b"tree 1\ngpgsig a\n b\ngpgsig-sha256 c\n d\nauthor x\ngpgsig e\n\ngpgsig is a header\n"
    signed = gitsignature.of_commit(raw)
    assert signed.payload == b"tree 1\nauthor x\n\ngpgsig is a header\n"
    assert signed.signature == b"a\nb"
