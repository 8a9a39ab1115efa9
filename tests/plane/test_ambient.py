"""Sources that are opened by the identity of the daemon's machine, and Buckets by a ServiceAccount.

The clouds are local servers that look at what they are asked.
"""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from api.bucket import Bucket
from api.charts import HelmRepository
from api.oci import OCIRepository
from api.source import GitRepository
from daemon import settings, wiring
from reconcilers.bucket import lent
from reconcilers.bucket.lent import Borrower
from reconcilers.gitrepository import cloud as git_cloud
from reconcilers.helmrepository import remote as helm_remote
from reconcilers.ocirepository import remote as oci_remote
from runtime.errors import TransientError
from sources.auth import devops, roles, tls
from sources.auth.errors import CredentialsError
from sources.bucket.s3 import Place
from sources.bucket.sigv4 import Keys
from sources.oci import clouds
from sources.oci.keychain import Login
from tests.support import ambient, reconciling, served
from tests.support.bucketsource import BucketSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support import s3
    from tests.support.ambient import Cloud
    from tests.support.reconciling import Desk

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
ACR = "acme.azurecr.io"
GAR = "europe-west1-docker.pkg.dev"
CODECOMMIT = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/fleet"
DEVOPS = "https://dev.azure.com/acme/fleet/_git/fleet"
BLOBS = "https://acme.blob.core.windows.net"
ROLE = "arn:aws:iam::1:role/reader"
POOL = "projects/1/locations/global/workloadIdentityPools/pool/providers/home"
SWITCH = "set ambient_cloud_identity = true in its [[clusters]] table of config.toml"
ASSUMED = """<R><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>lent</SecretAccessKey>
<SessionToken>session</SessionToken><Expiration>2036-01-02T01:00:00Z</Expiration></Credentials></R>"""


@pytest.fixture
async def desk(cluster: Access, tmp_path: Path) -> AsyncIterator[Desk]:
    async with reconciling.running(cluster, tmp_path) as each:
        yield each


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    """All three clouds."""
    async with ambient.serving(tmp_path) as serving:
        given = base64.b64encode(b"AWS:ecr-password").decode()
        serving.answers = {
            "/sts": ASSUMED,
            "/ecr": {
                "authorizationData": [{"authorizationToken": given, "expiresAt": 2_082_758_400}]
            },
            "/acr": {"refresh_token": "acr-refresh"},
            "/entra": {"access_token": "entra"},
            "/google": {"access_token": "google"},
            "/metadata/identity/oauth2/token": {"access_token": "managed", "expires_in": 3600},
            "/computeMetadata/v1/instance/service-accounts/default/token": {
                "access_token": "google",
                "expires_in": 3600,
            },
        }
        monkeypatch.setattr(clouds, "ECR_ENDPOINT", f"{serving.url}/ecr")
        monkeypatch.setattr(clouds, "ACR_ENDPOINT", f"{serving.url}/acr")
        monkeypatch.setattr(clouds, "GOOGLE_ENDPOINT", f"{serving.url}/google")
        monkeypatch.setattr(devops, "ENDPOINT", f"{serving.url}/entra")
        monkeypatch.setattr(roles, "ENDPOINT", f"{serving.url}/sts")
        yield serving


def lend(desk: Desk, cloud: Cloud, **environ: str) -> None:
    """Switch the machine's identity on, in all clouds."""
    desk.context.machine = cloud.machine(
        AWS_ACCESS_KEY_ID="AK",
        AWS_SECRET_ACCESS_KEY="SK",
        AZURE_POD_IDENTITY_AUTHORITY_HOST=cloud.url,
        GCE_METADATA_HOST=cloud.url.removeprefix("http://"),
        **environ,
    )


def made(kind: Any, namespace: str, **spec: Any) -> Any:
    metadata = {"name": "fleet", "namespace": namespace}
    return msgspec.convert({"metadata": metadata, "spec": {"interval": "1m", **spec}}, kind)


def borrower(desk: Desk, namespace: str, trust: tls.Trust = tls.SYSTEM, **spec: Any) -> Borrower:
    obj = made(Bucket, namespace, **{"bucketName": "box", "endpoint": "", **spec})
    return Borrower(desk.context, obj, trust, None)


async def account(desk: Desk, namespace: str, annotations: dict[str, str]) -> None:
    metadata = {"name": "reader", "namespace": namespace, "annotations": annotations}
    await desk.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


REGISTRIES = [
    ("aws", ECR, Login("AWS", "ecr-password")),
    ("azure", ACR, Login("00000000-0000-0000-0000-000000000000", "acr-refresh")),
    ("gcp", GAR, Login("oauth2accesstoken", "google")),
]


async def test_registries_are_opened_by_the_machine(
    desk: Desk, cloud: Cloud, namespace: str
) -> None:
    lend(desk, cloud)
    for provider, host, login in REGISTRIES:
        source = made(OCIRepository, namespace, url=f"oci://{host}/app", provider=provider)
        assert (await oci_remote.repository(desk.context, source)).login == login
        charts = made(
            HelmRepository, namespace, url=f"oci://{host}/charts", type="oci", provider=provider
        )
        assert (await helm_remote.registry(desk.context, charts, "app")).login == login
    assert len([each for each in cloud.asked if each.path in {"/ecr", "/acr"}]) == 2  # shared


@pytest.mark.parametrize(("provider", "host", "_login"), REGISTRIES)
async def test_registry_that_is_not_the_clouds_is_shown_nothing(
    desk: Desk, cloud: Cloud, namespace: str, provider: str, host: str, _login: Login
) -> None:
    lend(desk, cloud)
    other = made(OCIRepository, namespace, url="oci://evil.example/app", provider=provider)
    with pytest.raises(TransientError, match=r"'evil\.example' is n"):
        await oci_remote.repository(desk.context, other)
    plain = made(
        OCIRepository, namespace, url=f"oci://{host}/app", provider=provider, insecure=True
    )
    with pytest.raises(TransientError, match=r"leave out ca\.crt and insecure"):
        await oci_remote.repository(desk.context, plain)
    assert not cloud.asked


async def test_repositories_are_opened_by_the_machine(
    desk: Desk, cloud: Cloud, namespace: str
) -> None:
    lend(desk, cloud)
    source = made(GitRepository, namespace, url=DEVOPS, provider="azure")
    found = await git_cloud.credentials(desk.context, source, None)
    assert found.lender is not None
    assert await found.lender.authorization(DEVOPS) == "Bearer managed"
    assert cloud.asked[0].query["resource"] == "499b84ac-1321-427f-aa17-267ca6975798"
    source = made(GitRepository, namespace, url=CODECOMMIT, provider="aws")
    found = await git_cloud.credentials(desk.context, source, None)
    assert found.lender is not None
    shown = (await found.lender.authorization(CODECOMMIT)).removeprefix("Basic ")
    assert re.fullmatch(rb"AK:\d{8}T\d{6}Z[0-9a-f]{64}", base64.b64decode(shown))


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("azure", "https://evil.example/acme"),
        ("azure", "https://dev.azure.com@evil.example/acme"),
        ("azure", "https://dev.azure.com:444/acme"),
        ("azure", "http://dev.azure.com/acme"),
        ("aws", "https://git-codecommit.eu-west-1.amazonaws.com.evil.example/v1"),
    ],
)
async def test_git_server_that_is_not_the_clouds_is_shown_nothing(
    desk: Desk, cloud: Cloud, namespace: str, provider: str, url: str
) -> None:
    lend(desk, cloud)
    source = made(GitRepository, namespace, url=url, provider=provider)
    with pytest.raises(TransientError, match="failed to configure authentication options: "):
        await git_cloud.credentials(desk.context, source, None)
    assert not cloud.asked


async def test_bucket_is_read_by_the_keys_of_the_machine(
    desk: Desk,
    cloud: Cloud,
    namespace: str,
    s3_server: s3.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(lent.STORES, "aws", re.compile(r"http://127\.0\.0\.1:\d+"))
    keys = s3_server.keys
    desk.context.machine = cloud.machine(
        AWS_ACCESS_KEY_ID=keys.access_key, AWS_SECRET_ACCESS_KEY=keys.secret_key
    )
    source = BucketSource(desk, s3_server.bucket(), namespace)
    source.box.fill({"a.yaml": "a: 1"})
    await source.apply(provider="aws", secretRef=None)
    await source.reconcile()
    assert source.status["artifact"]["revision"].startswith("sha256:")


async def test_buckets_of_others_are_opened_by_the_machine(
    desk: Desk, cloud: Cloud, namespace: str
) -> None:
    lend(desk, cloud)
    google = borrower(desk, namespace, provider="gcp")
    assert await google.google("storage.googleapis.com") == "google"
    assert cloud.asked[-1].query["scopes"].endswith("devstorage.read_only")
    azure = borrower(desk, namespace, provider="azure", endpoint=BLOBS)
    assert await azure.azure() == "managed"


async def test_container_is_asked_as_nobody_where_there_is_no_identity(
    desk: Desk, cloud: Cloud, namespace: str
) -> None:
    azure = borrower(desk, namespace, provider="azure", endpoint=BLOBS)
    assert await azure.azure() == ""
    lend(desk, cloud)
    desk.context.machine = cloud.machine(AZURE_POD_IDENTITY_AUTHORITY_HOST="http://127.0.0.1:1")
    assert await azure.azure() == ""


@pytest.mark.parametrize("is_lent", [True, False])
async def test_store_that_is_not_the_clouds_is_shown_nothing(
    desk: Desk, cloud: Cloud, namespace: str, *, is_lent: bool
) -> None:
    lend(desk, cloud)
    name: dict[str, Any] = {"serviceAccountName": "reader"} if is_lent else {}
    aws = borrower(desk, namespace, provider="aws", **name)
    with pytest.raises(CredentialsError, match="to its own store only, not to 'https://evil"):
        await aws.keys(Place("evil.example", "box"))
    google = borrower(desk, namespace, provider="gcp", **name)
    with pytest.raises(CredentialsError, match="to its own store only"):
        await google.google("storage.googleapis.com.evil.example")
    plain = borrower(desk, namespace, provider="gcp", insecure=True, **name)
    with pytest.raises(CredentialsError, match="not to 'http://storage"):
        await plain.google("storage.googleapis.com")
    azure = borrower(desk, namespace, provider="azure", endpoint=f"{BLOBS}@evil.example", **name)
    with pytest.raises(CredentialsError, match="to its own store only"):
        await azure.azure()


async def test_nobody_reads_along_by_a_certificate_of_his_own(
    desk: Desk, cloud: Cloud, namespace: str
) -> None:
    lend(desk, cloud)
    trust = tls.Trust(ca=b"mine")
    aws = borrower(desk, namespace, trust, provider="aws")
    with pytest.raises(CredentialsError, match=r"leave out ca\.crt"):
        await aws.keys(Place("s3.amazonaws.com", "box"))
    azure = borrower(desk, namespace, trust, provider="azure", endpoint=BLOBS)
    with pytest.raises(CredentialsError, match=r"leave out ca\.crt"):
        await azure.azure()


async def test_word_of_the_machine_goes_to_awss_token_service_alone(
    desk: Desk, cloud: Cloud, namespace: str
) -> None:
    lend(desk, cloud)
    sts = {"provider": "aws", "endpoint": "https://sts.evil.example"}
    aws = borrower(desk, namespace, provider="aws", sts=sts)
    with pytest.raises(CredentialsError, match="no endpoint of AWS's token service"):
        await aws.keys(Place("s3.amazonaws.com", "box"))
    sts["endpoint"] = "https://vpce-1.sts.eu-west-1.vpce.amazonaws.com"
    aws = borrower(desk, namespace, provider="aws", sts=sts)
    assert await aws.keys(Place("s3.amazonaws.com", "box")) == Keys("AK", "SK")


async def test_buckets_are_opened_by_a_service_account(
    desk: Desk, cloud: Cloud, namespace: str
) -> None:
    notes = {
        roles.ROLE: ROLE,
        devops.TENANT: "tenant",
        devops.CLIENT: "client",
        clouds.GCP_PROVIDER: POOL,
    }
    await account(desk, namespace, notes)
    name: dict[str, Any] = {"serviceAccountName": "reader"}
    aws = borrower(desk, namespace, provider="aws", **name)
    for _ in range(2):
        assert await aws.keys(Place("s3.amazonaws.com", "box")) == Keys("ASIA", "lent", "session")
    google = borrower(desk, namespace, provider="gcp", **name)
    assert await google.google("storage.googleapis.com") == "google"
    azure = borrower(desk, namespace, provider="azure", endpoint=BLOBS, **name)
    assert await azure.azure() == "entra"
    assert [each.path for each in cloud.asked] == ["/sts", "/google", "/entra"]  # one word each
    assert cloud.asked[0].form["RoleArn"] == ROLE


async def test_service_account_that_is_not_there_is_named(desk: Desk, namespace: str) -> None:
    aws = borrower(desk, namespace, provider="aws", serviceAccountName="none")
    with pytest.raises(CredentialsError, match=f"ServiceAccount '{namespace}/none' cannot be read"):
        await aws.keys(Place("s3.amazonaws.com", "box"))


async def test_without_the_switch_nobody_is_the_machine(desk: Desk, namespace: str) -> None:
    with pytest.raises(CredentialsError, match=re.escape(SWITCH)):
        await borrower(desk, namespace, provider="aws").keys(Place("s3.amazonaws.com", "box"))
    git = made(GitRepository, namespace, url=CODECOMMIT, provider="aws")
    with pytest.raises(TransientError, match=re.escape(SWITCH)):
        await git_cloud.credentials(desk.context, git, None)
    registry = made(OCIRepository, namespace, url=f"oci://{ECR}/app", provider="aws")
    with pytest.raises(TransientError, match=re.escape(SWITCH)):
        await oci_remote.repository(desk.context, registry)
    charts = made(HelmRepository, namespace, url=f"oci://{ECR}/c", type="oci", provider="aws")
    with pytest.raises(TransientError, match=re.escape(SWITCH)):
        await helm_remote.registry(desk.context, charts, "app")


async def test_tenants_that_are_kept_apart_are_never_the_machine(
    desk: Desk, cloud: Cloud, namespace: str
) -> None:
    lend(desk, cloud)
    desk.context.settings = replace(desk.context.settings, default_service_account="tenant")
    with pytest.raises(CredentialsError, match="tenants are kept apart in this cluster"):
        await borrower(desk, namespace, provider="aws").keys(Place("s3.amazonaws.com", "box"))
    assert await borrower(desk, namespace, provider="azure", endpoint=BLOBS).azure() == ""
    assert not cloud.asked


@pytest.mark.parametrize("is_on", [True, False])
async def test_cluster_gets_the_machine_by_its_switch(
    desk: Desk, cloud: Cloud, tmp_path: Path, *, is_on: bool
) -> None:
    machine = cloud.machine()
    cluster = settings.Cluster(name="home", ambient_cloud_identity=is_on)
    async with served.fleet(tmp_path / "fleet") as running:
        services = replace(running.shared, machine=machine)
        context = wiring.build(cluster, services, desk.context.client)
    assert context.machine is (machine if is_on else None)
