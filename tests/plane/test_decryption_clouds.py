"""``spec.decryption.serviceAccountName``: clouds open what is encrypted with their keys.

The keys of AWS are moto's, which verifies signatures; those of Google a local server's. Both are
used by the real sops. Azure's would be asked over the internet, so there it is looked at what sops
is given.
"""

from __future__ import annotations

import base64
import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
from botocore.credentials import Credentials

from api import meta
from reconcilers.kustomization import sops
from reconcilers.kustomization.lending import Lender
from reconcilers.workload import Identity
from runtime.errors import TransientError
from tests.support import encrypting, kubeclouds, kustomizer
from tests.support.encrypting import CloudKey, seal
from tests.support.kustomizer import applied, failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support import s3
    from tests.support.kubeclouds import Cloud
    from tests.support.kustomizer import World

AGE = encrypting.age_key()
DECRYPTION: dict[str, Any] = {"provider": "sops", "serviceAccountName": "opener"}
GOOGLE_KEY = "projects/acme/locations/global/keyRings/ring/cryptoKeys/key"
AZURE_KEY = b"https://acme.vault.azure.net/keys/key/1"


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with kubeclouds.serving("", "", listener, monkeypatch) as serving:
            yield serving


@pytest.fixture
async def world(
    cluster: Access, cloud: Cloud, namespace: str, tmp_path: Path
) -> AsyncIterator[World]:
    cloud.subject = f"system:serviceaccount:{namespace}:opener"
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running


async def account(world: World, **annotations: str) -> None:
    """Create the ServiceAccount; without annotations it may be somebody in all clouds."""
    metadata = {"name": "opener", "namespace": world.namespace}
    manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata | {"annotations": annotations or kubeclouds.NOTES},
    }
    text = json.dumps(manifest)
    await world.context.threads.run(lambda: world.cluster.kubectl("apply", "-f", "-", input=text))


async def sealed(world: World, key: CloudKey | encrypting.AgeKey) -> str:
    text = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  namespace: {world.namespace}\n"
    return await world.context.threads.run(seal, f"{text}stringData:\n  k: hunter2\n", key)


def contents(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


async def value(world: World) -> str:
    return base64.b64decode((await world.live("secrets", "s"))["data"]["k"]).decode()


async def test_what_aws_lends_to_the_service_account_opens_what_its_keys_encrypted(
    world: World,
    cloud: Cloud,
    s3_server: s3.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    way = {"AWS_ENDPOINT_URL_KMS": f"http://{s3_server.endpoint}"}
    for variable, content in way.items():
        monkeypatch.setitem(sops._ALONE, variable, content)
    keys = s3_server.keys
    cloud.lent = Credentials(keys.access_key, keys.secret_key)
    way |= {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    arn = await world.context.threads.run(s3_server.key)
    await world.push({"s.yaml": await sealed(world, CloudKey("--kms", arn, way))})
    await account(world)
    await world.kustomize("apps", decryption=DECRYPTION)
    await world.until("apps", applied(world.revision))
    assert await value(world) == "hunter2"
    assert cloud.asked == ["sts"]
    assert cloud.audiences == [["sts.amazonaws.com"]]
    files = contents(tmp_path)
    assert not [content for content in files if keys.secret_key.encode() in content]


async def test_what_google_lends_to_the_service_account_opens_what_its_keys_encrypted(
    world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = {"SOPS_GCP_KMS_ENDPOINT": cloud.url, "SOPS_GCP_KMS_CLIENT_TYPE": "rest"}
    for variable, content in way.items():
        monkeypatch.setitem(sops._ALONE, variable, content)
    way["GOOGLE_OAUTH_ACCESS_TOKEN"] = cloud.grant(kubeclouds.EMAIL)
    key = CloudKey("--gcp-kms", GOOGLE_KEY, way)
    await world.push({"s.yaml": await sealed(world, key)})
    await account(world)
    await world.kustomize("apps", decryption=DECRYPTION)
    await world.until("apps", applied(world.revision))
    assert await value(world) == "hunter2"
    assert cloud.asked == ["v1", "google", "impersonation", "v1"]


async def test_azures_library_is_given_the_clusters_word_and_nothing_of_this_machine(
    world: World, cloud: Cloud
) -> None:
    await account(world)
    lender = Lender(Identity(world.context, world.namespace, "opener"))
    lent = await lender.lend([b"vault_url: " + AZURE_KEY], ())
    assert lent.env == {
        "AZURE_TENANT_ID": kubeclouds.TENANT,
        "AZURE_CLIENT_ID": kubeclouds.APPLICATION,
        "AZURE_TOKEN_CREDENTIALS": "WorkloadIdentityCredential",
    }
    cloud._check_word(lent.files["AZURE_FEDERATED_TOKEN_FILE"].decode(), "azure")
    assert not cloud.asked  # that is done by whom it is given to
    assert sops._ALONE["AZURE_TOKEN_CREDENTIALS"] == "EnvironmentCredential"


async def test_no_cloud_is_asked_about_a_text_that_none_has_the_key_of(
    world: World, cloud: Cloud
) -> None:
    await world.put("Secret", "sops", None, **{"age.agekey": AGE.identity})
    await world.push({"s.yaml": await sealed(world, AGE)})
    await world.kustomize("apps", decryption=DECRYPTION | {"secretRef": {"name": "sops"}})
    await world.until("apps", applied(world.revision))  # nor is the ServiceAccount, which is absent
    assert await value(world) == "hunter2"
    assert not cloud.asked


async def test_credentials_in_the_secret_are_used_before_what_a_cloud_lends(
    world: World, cloud: Cloud
) -> None:
    lender = Lender(Identity(world.context, world.namespace, "opener"))
    texts = [b"arn:aws:kms:eu-west-1:1:key/a", AZURE_KEY, GOOGLE_KEY.encode()]
    own = {"AWS_ACCESS_KEY_ID", "AZURE_CLIENT_ID", "GOOGLE_CREDENTIALS"}
    assert await lender.lend(texts, own) == ({}, {})
    assert not cloud.asked


@pytest.mark.parametrize(
    ("annotations", "text", "problem"),
    [
        ({"a": "b"}, "arn:aws:kms:eu-west-1:1:key/a", "invalid eks.amazonaws.com/role-arn annot"),
        ({"a": "b"}, GOOGLE_KEY, "invalid gcp.auth.fluxcd.io/workload-identity-provider annotat"),
        ({"a": "b"}, AZURE_KEY.decode(), "azure tenant ID is not set in the service account"),
        ({"a": "b"}, "arn:aws-iso:kms:us-iso-east-1:1:key/a", "partition 'aws-iso' are not serv"),
        ({}, "arn:aws:kms:eu-west-1:1:key/a", "cannot be read: serviceaccounts"),
    ],
)
async def test_what_hinders_a_cloud_from_lending_is_told(
    world: World, annotations: dict[str, str], text: str, problem: str
) -> None:
    if annotations:
        await account(world, **annotations)
    lender = Lender(Identity(world.context, world.namespace, "opener"))
    who = re.escape(f"cannot decrypt as ServiceAccount '{world.namespace}/opener': ")
    with pytest.raises(TransientError, match=f"{who}.*{re.escape(problem)}"):
        await lender.lend([text.encode()], ())


async def test_cloud_that_lends_nothing_fails_the_build(
    world: World, cloud: Cloud, s3_server: s3.Server
) -> None:
    keys = s3_server.keys
    way = {
        "AWS_ENDPOINT_URL_KMS": f"http://{s3_server.endpoint}",
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
    }
    arn = await world.context.threads.run(s3_server.key)
    await world.push({"s.yaml": await sealed(world, CloudKey("--kms", arn, way))})
    await account(world)
    cloud.refusals["sts"] = (403, "<E><Code>AccessDenied</Code><Message>no</Message></E>")
    await world.kustomize("apps", decryption=DECRYPTION)
    text = "AWS does not lend keys of arn:aws:iam::123456789012:role/deployer: no; its trust policy"
    await world.until("apps", failed(meta.BUILD_FAILED, text))


async def test_account_that_is_no_name_is_told(world: World) -> None:
    lender = Lender(Identity(world.context, world.namespace, "../secrets"))
    with pytest.raises(TransientError, match=r"'\.\./secrets' is not the name of a ServiceAccount"):
        await lender.lend([AZURE_KEY], ())
