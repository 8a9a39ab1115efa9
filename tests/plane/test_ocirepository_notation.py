"""OCIRepositories with signatures of the Notary Project: the conditions are those of Flux."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from devcluster import toolcache
from tests.support import notary, reconciling
from tests.support.notary import POLICY, Signer, policy, statement
from tests.support.ocisource import Source
from tests.support.registry import Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from devcluster.access import Access

ACME, STRANGER = Signer(), Signer("stranger")
VERIFY = {"provider": "notation", "secretRef": {"name": "notary"}}
PREFIX = "failed to verify the signature using provider 'notation': "


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as each:
        yield each


@pytest.fixture
async def source(
    cluster: Access, namespace: str, registry: Registry, tmp_path: Path
) -> AsyncIterator[Source]:
    async with reconciling.running(cluster, tmp_path) as desk:
        program = toolcache.ensure(toolcache.NOTATION) / "notation"
        desk.context.tools = replace(desk.context.tools, notation=program)
        yield Source(desk, registry, namespace)


def refused(source: Source, why: str) -> None:
    """Expect the conditions of an artifact that is not taken."""
    told = ("False", "VerificationError", PREFIX + why)
    assert source.conditions["SourceVerified"] == told
    assert source.conditions["Ready"] == told
    assert source.conditions["Reconciling"][:2] == ("True", "ProgressingWithRetry")


async def test_signed_artifact_is_taken_and_says_so(source: Source) -> None:
    digest = source.push()
    notary.sign(source.registry, source.path, digest, ACME)
    own = statement(scope=f"{source.registry.host}/{source.path}")
    await source.secret("notary", {POLICY: policy(own), "acme.pem": ACME.root})
    await source.apply(verify=VERIFY)
    await source.reconcile()
    text = f"verified signature of revision latest@{digest}"
    assert source.conditions["SourceVerified"] == ("True", "Succeeded", text)
    assert source.conditions["Ready"][0] == "True"
    assert source.artifact["revision"] == f"latest@{digest}"
    source.registry.requests()
    await source.reconcile()
    assert source.registry.requests() == [f"HEAD /v2/{source.path}/manifests/latest 200"]


async def test_artifact_without_a_signature_that_counts_is_not_taken(source: Source) -> None:
    signed = source.push()
    notary.sign(source.registry, source.path, signed, ACME)
    await source.secret("notary", {POLICY: policy(), "acme.crt": ACME.root})
    await source.apply(verify=VERIFY)
    await source.reconcile()
    artifact = source.artifact
    digest = source.push(files={"app.yaml": "evil"})
    name = f"{source.registry.host}/{source.path}@{digest}"
    await source.fails()
    refused(
        source,
        f'no signature is associated with "{name}", make sure the artifact was signed successfully',
    )
    (signature,) = notary.sign(source.registry, source.path, digest, STRANGER)
    await source.fails()
    refused(
        source,
        f"signature verification failed\nfailed to verify signature with digest {signature}, the "
        "signature's certificate chain does not contain any trusted certificate",
    )
    assert source.artifact == artifact
    notary.sign(source.registry, source.path, digest, STRANGER, ACME)
    await source.reconcile()
    assert source.artifact["revision"] == f"latest@{digest}"
    assert source.conditions["Ready"][0] == "True"


async def test_what_is_missing_is_named_in_flux_s_words(source: Source) -> None:
    digest = source.push()
    namespace = source.namespace
    await source.apply(verify={"provider": "notation"})
    await source.fails()
    name = f"{source.registry.host}/{source.path}@{digest}"
    refused(source, f"verification secret cannot be empty: '{name}'")
    await source.apply(verify=VERIFY)
    await source.fails()
    assert f"failed to get secret '{namespace}/notary': " in source.conditions["Ready"][2]
    broken = b'{"version": 1}'
    for content, why in (
        ({}, f"'trustpolicy.json' not found in secret '{namespace}/notary'"),
        ({POLICY: policy()}, f"no certificates found in secret '{namespace}/notary'"),
        (
            {POLICY: b"{}", "acme.crt": ACME.root},
            "trust policy document has empty version, version must be specified",
        ),
    ):
        await source.secret("notary", content)
        await source.fails()
        refused(source, why)
    await source.secret("notary", {POLICY: broken, "acme.crt": ACME.root})
    await source.fails()
    said = "error occurred while parsing trustpolicy.json: "
    assert source.conditions["Ready"][2].startswith(PREFIX + said)
    assert "artifact" not in source.status


async def test_policy_for_other_repositories_keeps_the_artifact_out(source: Source) -> None:
    digest = source.push()
    notary.sign(source.registry, source.path, digest, ACME)
    other = policy(statement(scope=f"{source.registry.host}/other"))
    await source.secret("notary", {POLICY: other, "acme.crt": ACME.root})
    await source.apply(verify=VERIFY)
    await source.fails()
    name = f"{source.registry.host}/{source.path}@{digest}"
    refused(
        source,
        f'artifact "{name}" has no applicable trust policy statement. Trust policy applicability '
        "for a given artifact is determined by registryScopes. To create a trust policy, see: "
        "https://notaryproject.dev/docs/quickstart/#create-a-trust-policy",
    )


async def test_missing_program_is_told(source: Source) -> None:
    source.push()
    source.desk.context.tools = replace(source.desk.context.tools, notation=None)
    await source.secret("notary", {POLICY: policy(), "acme.crt": ACME.root})
    await source.apply(verify=VERIFY)
    await source.fails()
    refused(source, "notation is not installed")


async def test_policy_that_lets_strangers_pass_leaves_nothing_verified(source: Source) -> None:
    digest = source.push()
    notary.sign(source.registry, source.path, digest, STRANGER)
    audit = policy(statement(level="audit"))
    await source.secret("notary", {POLICY: audit, "acme.crt": ACME.root})
    await source.apply(verify=VERIFY)
    await source.reconcile()
    assert source.conditions["Ready"][0] == "True"
    assert source.artifact["revision"] == f"latest@{digest}"
    assert "SourceVerified" not in source.conditions
    skip = policy(statement(level="skip"))
    await source.secret("notary", {POLICY: skip, "acme.crt": ACME.root})
    unsigned = source.push(files={"app.yaml": "a: 2\n"})
    await source.reconcile()
    assert source.artifact["revision"] == f"latest@{unsigned}"
    assert "SourceVerified" not in source.conditions
