"""Signatures of the Notary Project in a real registry, verified by its own library."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devcluster import toolcache
from runtime.limits import Processes
from runtime.metrics import Metrics
from sources.auth.proxy import Proxy
from sources.auth.tls import Trust
from sources.oci import notation, trustpolicy
from sources.oci.client import Repository
from sources.oci.cosign import UnverifiedError
from sources.oci.notation import Notation
from tests.support import faults, notary, socksproxy
from tests.support.notary import BEGIN, POLICY, Signer, policy, statement
from tests.support.oci import asking
from tests.support.registry import LOGIN, Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

ACME, STRANGER = Signer(), Signer("stranger")
DAY = dt.timedelta(days=1)
UNTRUSTED = "the signature's certificate chain does not contain any trusted certificate"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as each:
        yield each


@pytest.fixture
def path() -> str:
    return f"test/{uuid.uuid4().hex}"


@asynccontextmanager
async def checking(program: Path | None = None) -> AsyncIterator[Notation]:
    found = program or toolcache.ensure(toolcache.NOTATION) / "notation"
    async with asking() as ask:
        yield Notation(found, Processes(Metrics()), ask.threads, ask.registries)


async def verify(
    where: Repository, digest: str, content: bytes = b"", program: Path | None = None, **keys: bytes
) -> bool:
    """Verify a manifest by a policy and some certificates; by default those of `ACME`."""
    certificates = {f"{name}.crt": each for name, each in (keys or {"acme": ACME.root}).items()}
    data: Mapping[str, bytes] = {POLICY: content or policy(), **certificates}
    async with checking(program) as checker:
        return await checker.verify(where, digest, trustpolicy.read(data, "apps/notary"))


async def refused(where: Repository, digest: str, content: bytes = b"", **keys: bytes) -> str:
    """Return why a manifest is not verified."""
    with pytest.raises(UnverifiedError) as caught:
        await verify(where, digest, content, None, **keys)
    return str(caught.value)


def repository(registry: Registry, path: str, **more: Any) -> Repository:
    return Repository(registry.name(path), **more)


def failed(digest: str, why: str) -> str:
    return f"signature verification failed\nfailed to verify signature with digest {digest}, {why}"


@pytest.mark.parametrize("form", ["jws", "cose"])
async def test_what_notation_itself_signed_is_verified(
    registry: Registry, path: str, form: str
) -> None:
    recorded = notary.Recorded()
    recorded.push(registry, path, form)
    where = repository(registry, path)
    assert await verify(where, recorded.digest, root=recorded.root)
    assert UNTRUSTED in await refused(where, recorded.digest)


async def test_signer_whom_the_policy_trusts_is_recognised(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    notary.sign(registry, path, digest, ACME)
    where = repository(registry, path)
    assert await verify(where, digest)
    assert await verify(where, digest, other=STRANGER.root, acme=ACME.root)
    whom = "x509.subject: C=DE, ST=Bavaria, O=Acme, CN=acme"
    assert await verify(where, digest, policy(statement(trustedIdentities=[whom])))


async def test_signature_of_an_image_of_several_platforms_counts(
    registry: Registry, path: str
) -> None:
    child = registry.descriptor(path, registry.push(path, "amd64", {"a": "1"}))
    digest = registry.push_index(path, "latest", [child])
    notary.sign(registry, path, digest, ACME)
    assert await verify(repository(registry, path), digest)


async def test_manifest_without_signature_is_told(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    assert await refused(repository(registry, path), digest) == (
        f'no signature is associated with "{registry.host}/{path}@{digest}", make sure the '
        "artifact was signed successfully"
    )


async def test_signature_of_somebody_else_does_not_count(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    (signature,) = notary.sign(registry, path, digest, STRANGER)
    where = repository(registry, path)
    told = await refused(where, digest)
    assert told.startswith(failed(signature, ""))
    assert UNTRUSTED in told


async def test_signer_of_another_name_does_not_count(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    (signature,) = notary.sign(registry, path, digest, ACME)
    whom = ["x509.subject: C=DE, ST=Bavaria, O=Acme, CN=somebody"]
    content = policy(statement(trustedIdentities=whom))
    told = await refused(repository(registry, path), digest, content)
    assert told.startswith(failed(signature, "signing certificate from the digital signature "))
    assert "does not match the X.509 trusted identities" in told


async def test_certificate_that_has_expired_does_not_count(registry: Registry, path: str) -> None:
    late = Signer(end=BEGIN + DAY)
    digest = registry.push(path, "latest", {"a": "1"})
    (signature,) = notary.sign(registry, path, digest, late)
    where = repository(registry, path)
    told = await refused(where, digest, root=late.root)
    assert told.startswith(failed(signature, ""))
    assert "2020" in told
    lenient = policy(statement(level="permissive"))
    assert await verify(where, digest, lenient, root=late.root)


async def test_revoked_certificate_is_found_out_through_the_proxy_of_the_object(
    registry: Registry, path: str
) -> None:
    async with (
        socksproxy.running() as through,
        faults.running(lambda _: [faults.answer(gone.revoked)]) as lists,
    ):
        through.hosts["lists.test"] = "127.0.0.1"
        gone = Signer(revoked_at=f"http://lists.test:{lists.port}/acme.crl")
        digest = registry.push(path, "latest", {"a": "1"})
        (signature,) = notary.sign(registry, path, digest, gone)
        where = repository(registry, path, proxy=Proxy(through.address))
        told = await refused(where, digest, root=gone.root)
        assert f"lists.test:{lists.port}" in through.targets
        subject = "CN=acme,O=Acme,ST=Bavaria,C=DE"
        assert told == failed(signature, f'signing certificate with subject "{subject}" is revoked')
        lenient = policy(statement(verification={"override": {"revocation": "skip"}}))
        assert await verify(where, digest, lenient, root=gone.root)


async def test_signature_that_has_expired_does_not_count(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    subject = registry.descriptor(path, digest)
    (signature,) = notary.attach(registry, path, subject, [ACME.envelope(subject, BEGIN + DAY)])
    assert await refused(repository(registry, path), digest) == failed(
        signature, 'digital signature has expired on "Thu, 02 Jan 2020 00:00:00 +0000"'
    )


async def test_policy_for_other_repositories_does_not_apply(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    notary.sign(registry, path, digest, ACME)
    where, own = repository(registry, path), f"{registry.host}/{path}"
    told = await refused(where, digest, policy(statement(scope=f"{registry.host}/other")))
    assert told.startswith(f'artifact "{own}@{digest}" has no applicable')
    assert "trust policy statement" in told
    nobody = statement("others", trustStores=["ca:nobody"])
    assert await verify(where, digest, policy(statement("own", scope=own), nobody))


async def test_signature_of_another_manifest_does_not_count(registry: Registry, path: str) -> None:
    signed = registry.descriptor(path, registry.push(path, "signed", {"a": "1"}))
    digest = registry.push(path, "latest", {"a": "2"})
    subject = registry.descriptor(path, digest)
    (signature,) = notary.attach(registry, path, subject, [ACME.envelope(signed)])
    told = await refused(repository(registry, path), digest)
    assert told == failed(signature, "content descriptor mismatch")


@pytest.mark.parametrize("content", [b"hunter2", b"{}"])
async def test_signature_that_is_none_does_not_count(
    registry: Registry, path: str, content: bytes
) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    subject = registry.descriptor(path, digest)
    (signature,) = notary.attach(registry, path, subject, [content])
    assert (await refused(repository(registry, path), digest)).startswith(failed(signature, ""))


async def test_changed_signature_does_not_count(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    subject = registry.descriptor(path, digest)
    envelope = ACME.envelope(subject).replace(b'"signature": "', b'"signature": "AAAA')
    (signature,) = notary.attach(registry, path, subject, [envelope])
    assert (await refused(repository(registry, path), digest)).startswith(failed(signature, ""))


async def test_one_of_two_signatures_is_enough(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    where = repository(registry, path)
    notary.sign(registry, path, digest, STRANGER, ACME)
    assert await verify(where, digest)
    first, second = notary.sign(registry, path, digest, STRANGER, Signer("other"))
    told = (await refused(where, digest)).splitlines()
    assert [line.partition(",")[0] for line in told] == [
        "signature verification failed",
        f"failed to verify signature with digest {first}",
        f"failed to verify signature with digest {second}",
    ]


async def test_three_signatures_are_tried_as_in_flux(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    where = repository(registry, path)
    notary.sign(registry, path, digest, STRANGER, STRANGER, ACME)
    assert await verify(where, digest)
    notary.sign(registry, path, digest, STRANGER, STRANGER, STRANGER, ACME)
    assert await refused(where, digest) == (
        "signature evaluation stopped. The configured limit of 3 signatures to verify per artifact "
        "exceeded"
    )


async def test_list_of_signatures_says_nothing_that_breaks_a_request(
    registry: Registry, path: str
) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    (signature,) = notary.sign(registry, path, digest, ACME)
    entry = registry.descriptor(path, signature) | {"artifactType": notation.SIGNATURE}
    odd = entry | {"mediaType": "text/plain\r\nHost: evil"}
    registry.push_index(path, digest.replace(":", "-"), [odd])
    assert await verify(repository(registry, path), digest)


async def test_signature_that_cannot_be_fetched_is_an_error(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    signature, _ = notary.sign(registry, path, digest, STRANGER, ACME)
    registry.delete(path, signature)
    told = await refused(repository(registry, path), digest)
    assert told.startswith(
        f'unable to retrieve digital signature with digest "{signature}" associated with '
        f'"{registry.host}/{path}@{digest}" from the Repository, error : '
    )


async def test_levels_that_let_strangers_pass_say_that_nobody_is_known(
    registry: Registry, path: str
) -> None:
    unsigned = registry.push(path, "unsigned", {"a": "1"})
    digest = registry.push(path, "latest", {"a": "2"})
    notary.sign(registry, path, digest, STRANGER)
    where = repository(registry, path)
    skips, audits = policy(statement(level="skip")), policy(statement(level="audit"))
    assert not await verify(where, unsigned, skips)
    assert not await verify(where, digest, skips)
    assert not await verify(where, digest, audits)
    assert await verify(where, digest, audits, stranger=STRANGER.root)
    assert (await refused(where, unsigned, audits)).startswith("no signature is associated")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}", "trust policy document has empty version, version must be specified"),
        (
            b'{"version": "9", "trustPolicies": []}',
            'trust policy document uses unsupported version "9"',
        ),
        (b'{"version": "1.0"}', "trust policy document can not have zero trust policy statements"),
        (
            policy(statement(level="none")),
            (
                'trust policy: trust policy statement "all" has invalid signatureVerification: '
                'invalid signature verification level "none"'
            ),
        ),
        (
            policy(statement(trustStores=["ca:a/../../b"])),
            (
                'trust policy: trust policy statement "all" uses an unsupported trust store name '
                '"a/../../b" in trust store value "ca:a/../../b". Named store name needs to follow '
                "[a-zA-Z0-9_.-]+ format"
            ),
        ),
        (
            policy(statement(trustStores=[])),
            (
                'trust policy: trust policy statement "all" is either missing trust stores or '
                "trusted identities, both must be specified"
            ),
        ),
    ],
)
async def test_policy_that_does_not_hold_is_told_in_notation_s_words(
    registry: Registry, path: str, content: bytes, said: str
) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    notary.sign(registry, path, digest, ACME)
    assert await refused(repository(registry, path), digest, content) == said


async def test_certificate_that_is_none_is_named(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    notary.sign(registry, path, digest, ACME)
    where = repository(registry, path)
    told = await refused(where, digest, acme=ACME.root, broken=b"hunter2")
    assert told.startswith("failed to read the trusted certificate broken.crt in trust store acme")
    assert "hunter2" not in told
    told = await refused(where, digest, leaf=ACME.leaf)
    assert "is not a CA certificate or self-signed signing certificate" in told


async def test_login_and_certificates_stay_with_the_daemon(path: str, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry", login=True, tls=True) as registry:
        digest = registry.push(path, "latest", {"a": "1"})
        notary.sign(registry, path, digest, ACME)
        where = repository(registry, path, login=LOGIN, trust=Trust(registry.ca))
        assert await verify(where, digest)


async def test_program_that_is_not_there_is_told(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    with pytest.raises(UnverifiedError, match="notation: No such file"):
        await verify(repository(registry, path), digest, program=Path("/nowhere/notation"))


async def test_program_that_says_nothing_is_told(
    registry: Registry, path: str, tmp_path: Path
) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    program = tmp_path / "notation"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o700)
    with pytest.raises(UnverifiedError, match="notation gave no reason"):
        await verify(repository(registry, path), digest, program=program)


async def test_program_gets_nothing_of_this_user_and_its_home_is_gone_afterwards(
    registry: Registry, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTATION_PASSWORD", "of this user")
    program = tmp_path / "notation"
    program.write_text(
        f'#!/bin/sh\n{{ echo "$@"; env; ls -ld $HOME; cd $HOME; find . -type f; }} >{tmp_path}/seen'
    )
    program.chmod(0o700)
    digest = registry.push(path, "latest", {"a": "1"})
    async with checking(program) as checker:
        trust = trustpolicy.read({POLICY: policy(), "acme.crt": ACME.root}, "apps/notary")
        where = repository(registry, path)
        assert await checker.verify(where, digest, trust)
    seen = await asyncio.to_thread((tmp_path / "seen").read_text)
    assert "of this user" not in seen
    assert "drwx------" in seen
    files = {line for line in seen.splitlines() if line.startswith("./") and "layout" not in line}
    assert files == {"./config/trustpolicy.json", "./config/truststore/x509/ca/acme/acme.crt"}
    (home,) = [line[5:] for line in seen.splitlines() if line.startswith("HOME=")]
    assert not await asyncio.to_thread(Path(home).exists)
