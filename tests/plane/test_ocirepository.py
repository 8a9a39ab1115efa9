"""OCIRepositories on a real API server and a real registry: status, events, and their cost."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from api.oci import OCIRepository
from devcluster import toolcache
from runtime.errors import TerminalError, TransientError
from sources.oci import manifests
from tests.support import cosigning, disk, keyless, reconciling
from tests.support.ocisource import NAME, Source
from tests.support.registry import LOGIN, Layer, Registry, free_port, tarball

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.reconciling import Desk

FINALIZER = "finalizers.fluxcd.io"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as each:
        yield each


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry over TLS that wants a login."""
    with Registry(tmp_path_factory.mktemp("locked"), login=True, tls=True) as each:
        yield each


@pytest.fixture
def source(desk: Desk, registry: Registry, namespace: str) -> Source:
    return Source(desk, registry, namespace)


@pytest.fixture
def private(desk: Desk, locked: Registry, namespace: str) -> Source:
    return Source(desk, locked, namespace)


def writes(counts: dict[str, int]) -> dict[str, int]:
    """Leave out the one GET by which the test itself looks at the object."""
    assert counts.pop("get", 0) == 1
    return counts


async def test_first_pull_stores_an_artifact_and_reports_it(source: Source) -> None:
    annotations = {
        "org.opencontainers.image.source": "https://github.com/acme/fleet",
        "org.opencontainers.image.revision": "main@sha1:abc",
    }
    digest = source.push("1.0.0", {"app.yaml": "a", "logo.png": "p"}, annotations=annotations)
    await source.apply(ref={"tag": "1.0.0"})
    result = await source.reconcile()
    assert result.requeue_after_s == 60
    revision = f"1.0.0@{digest}"
    stored = ("True", "Succeeded", f"stored artifact for digest '{revision}'")
    assert source.conditions == {"Ready": stored, "ArtifactInStorage": stored}
    folder = f"ocirepository/{source.namespace}/{NAME}"
    artifact = source.artifact
    assert artifact["path"] == f"{folder}/{digest}.tar.gz"
    assert artifact["revision"] == revision
    assert artifact["metadata"] == annotations
    assert source.status["url"] == f"http://127.0.0.1:1/{folder}/latest.tar.gz"
    assert source.status["observedGeneration"] == 1
    content = await asyncio.to_thread(source.file.read_bytes)
    assert artifact["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert source.names() == ["app.yaml"]
    assert FINALIZER in source.live["metadata"]["finalizers"]
    told = (
        f"stored artifact with revision '{revision}' from '{source.url}', origin source "
        "'https://github.com/acme/fleet', origin revision 'main@sha1:abc'"
    )
    assert source.events == [("NewArtifact", told)]
    assert source.desk.events[-1].metadata == {
        "source.toolkit.fluxcd.io/revision": revision,
        "source.toolkit.fluxcd.io/digest": artifact["digest"],
    }


async def test_unchanged_tag_costs_one_head_and_no_write(source: Source) -> None:
    digest = source.push()
    await source.apply()
    await source.reconcile()
    events, _ = len(source.events), source.registry.requests()
    with source.desk.counting() as counts:
        await source.reconcile()
    assert writes(counts) == {}
    assert source.registry.requests() == [f"HEAD /v2/{source.path}/manifests/latest 200"]
    assert len(source.events) == events
    assert source.artifact["revision"] == f"latest@{digest}"


async def test_moved_tag_costs_one_patch(source: Source) -> None:
    source.push()
    await source.apply()
    await source.reconcile()
    digest = source.push(files={"app.yaml": "a: 2\n"})
    source.registry.requests()
    with source.desk.counting() as counts:
        await source.reconcile()
    assert writes(counts) == {"patch": 1}
    assert source.artifact["revision"] == f"latest@{digest}"
    methods = [each.split()[0] for each in source.registry.requests()]
    assert methods == ["HEAD", "GET", "GET"]


async def test_pinned_digest_is_not_asked_for_again(source: Source) -> None:
    digest = source.push()
    source.push(files={"app.yaml": "a: 2\n"})
    await source.apply(ref={"digest": digest, "tag": "latest"})
    await source.reconcile()
    source.registry.requests()
    await source.reconcile()
    assert source.registry.requests() == []
    assert source.artifact["revision"] == digest


async def test_semver_takes_the_highest_tag_that_passes_the_filter(source: Source) -> None:
    for tag in ("1.0.0", "1.2.0", "1.10.0", "1.11.0-rc.1", "2.0.0", "1.12.0-debug"):
        source.push(tag, {"app.yaml": tag})
    await source.apply(ref={"semver": "1.x"})
    await source.reconcile()
    assert source.artifact["revision"].startswith("1.10.0@")
    await source.apply(ref={"semver": ">=1.0.0-0", "semverFilter": ".*-rc.*"})
    await source.reconcile()
    assert source.artifact["revision"].startswith("1.11.0-rc.1@")
    await source.apply(ref={"semver": ">=9"})
    await source.fails()
    text = (
        f"failed to determine the artifact tag for '{source.url}': no match found for semver: >=9"
    )
    assert source.conditions["Ready"] == ("False", "ReadOperationFailed", text)


async def test_changed_ignore_rebuilds_the_same_revision(source: Source) -> None:
    source.push(files={"app.yaml": "a", "docs.md": "b"})
    await source.apply()
    await source.reconcile()
    before = source.artifact
    await source.apply(ignore="*.md")
    await source.reconcile()
    assert source.names() == ["app.yaml"]
    assert source.artifact["revision"] == before["revision"]
    assert source.artifact["digest"] != before["digest"]
    assert source.status["observedIgnore"] == "*.md"
    assert source.status["observedGeneration"] == 2


async def test_layer_is_chosen_by_its_media_type_and_kept_as_it_is(source: Source) -> None:
    chart = b"the bytes of a chart"
    layers = (Layer(tarball({"app.yaml": "a"})), Layer(chart, manifests.HELM_CHART))
    digest = source.push(layers=layers)
    selector = {"mediaType": manifests.HELM_CHART, "operation": "copy"}
    await source.apply(layerSelector=selector)
    await source.reconcile()
    assert source.file.read_bytes() == chart
    assert source.artifact["digest"] == f"sha256:{hashlib.sha256(chart).hexdigest()}"
    assert source.artifact["path"].endswith(f"/{digest}.tar.gz")
    assert source.status["observedLayerSelector"] == selector
    await source.apply(layerSelector={"operation": "extract"})
    await source.reconcile()
    assert source.names() == ["app.yaml"]
    await source.apply(layerSelector={"mediaType": "application/x-else"})
    await source.fails()
    text = "failed to find layer with media type 'application/x-else' in artifact"
    assert source.conditions["Ready"] == ("False", "OCIArtifactLayerOperationFailed", text)


async def test_request_is_acknowledged_and_answered_by_an_event(source: Source) -> None:
    digest = source.push()
    await source.apply()
    await source.reconcile()
    await source.apply(annotations={"reconcile.fluxcd.io/requestedAt": "now"})
    await source.reconcile()
    assert source.status["lastHandledReconcileAt"] == "now"
    text = f"artifact up-to-date with remote revision: 'latest@{digest}'"
    assert source.events[-1] == ("ArtifactUpToDate", text)
    assert source.desk.events[-1].is_trace


async def test_failure_keeps_the_artifact_and_recovery_is_told(source: Source) -> None:
    digest = source.push()
    await source.apply()
    await source.reconcile()
    artifact = source.artifact
    await source.apply(ref={"tag": "nope"})
    await source.fails()
    status, reason, message = source.conditions["Ready"]
    assert (status, reason) == ("False", "OCIArtifactPullFailed")
    name = f"{source.registry.host}/{source.path}:nope"
    assert message.startswith(f"failed to determine artifact digest: {name} was not found")
    assert source.conditions["FetchFailed"] == ("True", reason, message)
    assert source.conditions["Reconciling"][:2] == ("True", "ProgressingWithRetry")
    assert source.artifact == artifact
    assert source.events[-1] == (reason, message)
    await source.apply(ref={"tag": "latest"})
    await source.reconcile()
    assert set(source.conditions) == {"Ready", "ArtifactInStorage"}
    told = f"stored artifact with revision 'latest@{digest}' from '{source.url}'"
    assert source.events[-1] == ("Succeeded", told)


async def test_url_with_a_tag_stalls(source: Source) -> None:
    await source.apply(url=f"{source.url}:1.0.0")
    await source.fails(TerminalError)
    text = (
        f"URL validation failed for '{source.url}:1.0.0': URL must not contain a tag; "
        "remove ':1.0.0'"
    )
    assert source.conditions["Stalled"] == ("True", "URLInvalid", text)
    assert source.conditions["Ready"] == ("False", "URLInvalid", text)


async def test_provider_lends_nothing_here_unless_there_is_a_secret(
    private: Source,
) -> None:
    private.push()
    trust = {"certSecretRef": {"name": "tls"}}
    await private.secret("tls", {"ca.crt": private.registry.ca})
    await private.apply(provider="aws", **trust)
    await private.fails(TransientError)
    status, reason, text = private.conditions["Ready"]
    assert (status, reason) == ("False", "AuthenticationFailed")
    assert "leave out ca.crt" in text
    await private.login("login", LOGIN.username, LOGIN.password)
    await private.apply(provider="aws", secretRef={"name": "login"}, **trust)
    await private.reconcile()
    assert private.conditions["Ready"][0] == "True"


async def test_login_of_a_secret_and_of_a_service_account(private: Source) -> None:
    private.push()
    await private.secret("tls", {"caFile": private.registry.ca})
    await private.login("login", LOGIN.username, LOGIN.password)
    spec = {"certSecretRef": {"name": "tls"}}
    await private.apply(**spec)
    await private.fails()
    assert "authentication required" in private.conditions["Ready"][2]
    await private.apply(secretRef={"name": "login"}, **spec)
    await private.reconcile()
    assert private.conditions["Ready"][0] == "True"
    await private.desk.create(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "puller", "namespace": private.namespace},
            "imagePullSecrets": [{"name": "login"}],
        }
    )
    await private.apply(serviceAccountName="puller", **spec)
    await private.reconcile()
    assert private.conditions["Ready"][0] == "True"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"secretRef": {"name": "nope"}},
            "failed to get credential: failed to get secret '{ns}/nope': ",
        ),
        (
            {"secretRef": {"name": "bad"}},
            "failed to get credential: secret '{ns}/bad' has no '.dockerconfigjson'",
        ),
        (
            {"serviceAccountName": "nope"},
            "failed to get credential: failed to get service account '{ns}/nope': ",
        ),
        (
            {"proxySecretRef": {"name": "bad"}},
            "failed to get proxy address: failed to configure proxy options: invalid proxy secret",
        ),
        (
            {"certSecretRef": {"name": "bad"}},
            "failed to generate transport for '{url}': secret '{ns}/bad' must have 'ca.crt'",
        ),
    ],
    ids=["no secret", "no docker config", "no account", "no proxy", "no certificate"],
)
async def test_unusable_credentials_are_named(
    source: Source, spec: dict[str, Any], message: str
) -> None:
    await source.secret("bad", {"password": b"hunter2"})
    await source.apply(**spec)
    await source.fails()
    status, reason, text = source.conditions["Ready"]
    assert (status, reason) == ("False", "AuthenticationFailed")
    assert text.startswith(message.format(ns=source.namespace, url=source.url))
    assert "hunter2" not in text


async def test_certificate_that_cannot_be_read_is_named(private: Source) -> None:
    await private.secret("tls", {"ca.crt": b"no PEM"})
    await private.apply(certSecretRef={"name": "tls"})
    await private.fails()
    status, reason, text = private.conditions["Ready"]
    assert (status, reason) == ("False", "AuthenticationFailed")
    assert text.startswith(f"failed to generate transport for '{private.url}': cannot append")


async def test_insecure_takes_any_certificate(private: Source) -> None:
    private.push()
    await private.login("login", LOGIN.username, LOGIN.password)
    spec = {"secretRef": {"name": "login"}}
    await private.apply(**spec)
    await private.fails()
    assert "TLS handshake" in private.conditions["Ready"][2]
    await private.apply(insecure=True, **spec)
    await private.reconcile()
    assert private.conditions["Ready"][0] == "True"


async def test_archive_that_is_not_let_in_is_refused(source: Source) -> None:
    source.push(files={"../evil.yaml": "a"})
    await source.apply()
    await source.fails()
    text = (
        "failed to extract layer contents from artifact: tar contained invalid name error "
        '"../evil.yaml"'
    )
    assert source.conditions["Ready"] == ("False", "OCIArtifactLayerOperationFailed", text)
    assert not list(source.desk.context.storage.root.iterdir())


@pytest.mark.parametrize(
    "text",
    [random.Random(7).randbytes(1_500_000).hex(), "0" * 3_000_000],
    ids=["packed", "unpacked"],
)
async def test_full_disk_leaves_nothing_half_written_and_recovers(
    source: Source, text: str
) -> None:
    source.push()
    await source.apply()
    await source.reconcile()
    before, folder = source.artifact, source.file.parent
    digest = source.push(files={"app.yaml": text})
    with disk.full(1_000_000):
        await source.fails()
    status, reason, message = source.conditions["Ready"]
    assert (status, reason) == ("False", "ArchiveOperationFailed")
    assert message.startswith("unable to archive artifact to storage: ")
    assert source.conditions["StorageOperationFailed"][0] == "True"
    assert source.artifact == before
    kept = {before["path"].rpartition("/")[2], "latest.tar.gz"}
    assert {path.name for path in folder.iterdir()} == kept
    assert [path.name for path in source.desk.context.storage.root.iterdir()] == ["ocirepository"]
    await source.reconcile()
    assert source.artifact["revision"] == f"latest@{digest}"
    assert set(source.conditions) == {"Ready", "ArtifactInStorage"}


async def test_artifact_that_disappeared_is_pulled_again(source: Source) -> None:
    source.push()
    await source.apply()
    await source.reconcile()
    file, url = source.file, source.status["url"]
    file.unlink()
    await source.apply(ref={"tag": "nope"})
    await source.fails()
    assert not {"artifact", "url"} & source.status.keys()
    assert "ArtifactInStorage" not in source.conditions
    await source.apply(ref={"tag": "latest"})
    await source.reconcile()
    assert source.names() == ["app.yaml"]
    assert source.status["url"] == url
    assert source.conditions["Ready"][0] == "True"


async def test_suspended_object_is_left_alone(source: Source) -> None:
    source.push()
    await source.apply(suspend=True)
    source.registry.requests()
    await source.reconcile()
    assert source.registry.requests() == []
    assert "artifact" not in source.status


async def test_deletion_removes_the_artifacts(source: Source) -> None:
    source.push()
    await source.apply()
    await source.reconcile()
    folder = source.file.parent
    await source.desk.context.client.delete(
        reconciling.resource_of(OCIRepository), source.namespace, NAME
    )
    await source.reconcile()
    assert not folder.exists()


async def test_verified_artifact_says_so_until_nobody_asks(source: Source) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    digest = source.push()
    cosigning.sign_simply(source.registry, source.path, digest, key)
    await source.secret("keys", {"cosign.pub": cosigning.public(key)})
    await source.apply(verify={"provider": "cosign", "secretRef": {"name": "keys"}})
    await source.reconcile()
    text = f"verified signature of revision latest@{digest}"
    assert source.conditions["SourceVerified"] == ("True", "Succeeded", text)
    assert source.conditions["Ready"][2] == f"stored artifact for digest 'latest@{digest}'"
    source.registry.requests()
    await source.reconcile()
    assert source.registry.requests() == [f"HEAD /v2/{source.path}/manifests/latest 200"]
    await source.apply()
    await source.reconcile()
    assert "SourceVerified" not in source.conditions


async def test_unsigned_artifact_is_not_taken_and_the_old_one_stays(source: Source) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signed = source.push()
    cosigning.sign_simply(source.registry, source.path, signed, key)
    await source.secret("keys", {"cosign.pub": cosigning.public(key)})
    await source.apply(verify={"provider": "cosign", "secretRef": {"name": "keys"}})
    await source.reconcile()
    artifact = source.artifact
    digest = source.push(files={"app.yaml": "evil"})
    await source.fails()
    text = (
        "failed to verify the signature using provider 'cosign': no matching signatures were "
        f"found for '{source.registry.host}/{source.path}@{digest}'"
    )
    assert source.conditions["SourceVerified"] == ("False", "VerificationError", text)
    assert source.conditions["Ready"] == ("False", "VerificationError", text)
    news = f"new revision 'latest@{digest}' for '{source.registry.host}/{source.path}:latest'"
    assert source.conditions["ArtifactOutdated"] == ("True", "NewRevision", news)
    assert source.artifact == artifact
    cosigning.sign_simply(source.registry, source.path, digest, key)
    await source.reconcile()
    assert source.conditions["Ready"][0] == "True"
    assert source.artifact["revision"] == f"latest@{digest}"


async def test_last_refusal_is_not_told_of_a_registry_that_is_away(source: Source) -> None:
    source.push()
    await source.apply(verify={"provider": "cosign", "secretRef": {"name": "nope"}})
    await source.fails()
    away = f"oci://127.0.0.1:{free_port()}/fleet"
    await source.apply(url=away, verify={"provider": "cosign", "secretRef": {"name": "nope"}})
    await source.fails()
    assert "SourceVerified" not in source.conditions
    assert source.conditions["Ready"][1] == "OCIArtifactPullFailed"


async def test_missing_keys_are_named(source: Source) -> None:
    source.push()
    await source.apply(verify={"provider": "cosign", "secretRef": {"name": "nope"}})
    await source.fails()
    status, reason, text = source.conditions["Ready"]
    assert (status, reason) == ("False", "VerificationError")
    assert f"failed to get secret '{source.namespace}/nope'" in text
    assert "artifact" not in source.status


async def test_signer_without_a_key_is_recognised(source: Source) -> None:
    sigstore = keyless.Sigstore()
    digest = source.push()
    sigstore.sign(source.registry, source.path, digest)
    await source.secret("root", {"trusted_root.json": sigstore.trusted_root()})
    verify = {"provider": "cosign", "trustedRootSecretRef": {"name": "root"}}
    await source.apply(verify=verify)
    await source.fails()
    beginning = "failed to verify the signature using provider 'cosign keyless': "
    assert source.conditions["Ready"] == (
        "False",
        "VerificationError",
        f"{beginning}cosign is not installed",
    )
    program = toolcache.ensure(toolcache.COSIGN) / "cosign"
    source.desk.context.tools = replace(source.desk.context.tools, cosign=program)
    await source.secret("empty", {"else": b"x"})
    await source.apply(verify=verify | {"trustedRootSecretRef": {"name": "empty"}})
    await source.fails()
    text = f"{beginning}secret '{source.namespace}/empty' has no 'trusted_root.json'"
    assert source.conditions["Ready"][2] == text
    stranger = {"issuer": ".*", "subject": "^https://github.com/evil/.*$"}
    await source.apply(verify=verify | {"matchOIDCIdentity": [stranger]})
    await source.fails()
    assert source.conditions["SourceVerified"][:2] == ("False", "VerificationError")
    assert "expected SAN value to match regex" in source.conditions["Ready"][2]
    known = {"issuer": keyless.ISSUER, "subject": "^https://github.com/acme/.*$"}
    await source.apply(verify=verify | {"matchOIDCIdentity": [known]})
    await source.reconcile()
    text = f"verified signature of revision latest@{digest}"
    assert source.conditions["SourceVerified"] == ("True", "Succeeded", text)
    assert source.conditions["Ready"][0] == "True"
