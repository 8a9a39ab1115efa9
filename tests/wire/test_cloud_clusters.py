"""What clouds say about their clusters, from local servers that look at what they are asked."""

from __future__ import annotations

import datetime as dt
import socket
from typing import TYPE_CHECKING, Any

import pytest

from runtime.clock import SystemClock
from sources import web as sources_web
from sources.auth import roles, tls
from sources.auth.clusters import aks, eks, gke
from sources.auth.errors import CredentialsError
from sources.bucket.sigv4 import Keys
from sources.web import Web
from tests.support import blocking, kubeclouds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.kubeclouds import Cloud

SERVER, PEM = "https://10.0.0.1:6443", "-----BEGIN CERTIFICATE-----"
LENT = Keys(kubeclouds.KEY.access_key, kubeclouds.KEY.secret_key, kubeclouds.KEY.token or "")
NAMES = kubeclouds.NAMES


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with kubeclouds.serving(SERVER, PEM, listener, monkeypatch) as serving:
            yield serving


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with (
        blocking.threads() as threads,
        Web(tls.SYSTEM, None, tls.Contexts(), threads) as each,
    ):
        yield each


async def describe(web: Web, cloud: Cloud, provider: str, name: str = "") -> Any:
    """Ask a cloud where a cluster is, as somebody who may."""
    name = name or NAMES[provider]
    if provider == "aws":
        return (await eks.describe(web, eks.parse(name), LENT, SystemClock())).servers
    if provider == "gcp":
        token = cloud.grant(kubeclouds.EMAIL)
        return (await gke.describe(web, gke.check(name), token)).servers
    return await aks.kubeconfigs(web, aks.check(name), cloud.grant("arm"))


async def test_clouds_say_where_their_cluster_is(web: Web, cloud: Cloud) -> None:
    assert await describe(web, cloud, "aws") == {SERVER: PEM.encode()}
    assert await describe(web, cloud, "gcp") == {
        SERVER: PEM.encode(),
        "https://gke-1.europe-west1.gke.goog": b"",
    }
    (kubeconfig,) = await describe(web, cloud, "azure")
    assert SERVER.encode() in kubeconfig
    assert cloud.asked == ["eks", "gke", "arm", "arm"]


@pytest.mark.parametrize(
    ("provider", "name", "text"),
    [
        (
            "aws",
            "arn:aws:eks:eu-west-1:1:cluster/none",
            "there is no EKS cluster 'none' in eu-west-1: No cluster found for name: none",
        ),
        ("azure", NAMES["azure"] + "2", "there is no AKS cluster 'prod2': The Resource"),
        ("gcp", NAMES["gcp"] + "2", "there is no GKE cluster 'projects/acme/locations/europe"),
    ],
)
async def test_cluster_that_is_not_there_is_named(
    web: Web, cloud: Cloud, provider: str, name: str, text: str
) -> None:
    with pytest.raises(CredentialsError, match=text):
        await describe(web, cloud, provider, name)


FORBIDDEN: dict[str, Any] = {
    "eks": {"message": "User: arn:aws:sts::1:assumed-role/r/s is not authorized"},
    "gke": {"error": {"message": 'Required "container.clusters.get" permission(s).'}},
    "arm": {"error": {"message": "The client 'c' does not have\nauthorization"}},
}


@pytest.mark.parametrize(
    ("provider", "operation", "said", "permission"),
    [
        ("aws", "eks", "r/s is not authorized", "allow eks:DescribeCluster"),
        ("gcp", "gke", r"permission\(s\)", "allow container.clusters.get"),
        ("azure", "arm", "does not have authorization", "allow the role 'Azure Kubernetes Service"),
    ],
)
async def test_missing_permission_is_named_and_what_to_do(
    web: Web, cloud: Cloud, provider: str, operation: str, said: str, permission: str
) -> None:
    cloud.refusals[operation] = (403, FORBIDDEN[operation])
    text = f"may not be described: .*{said}; {permission}.*, or put address and ca.crt into"
    with pytest.raises(CredentialsError, match=text):
        await describe(web, cloud, provider)


@pytest.mark.parametrize(
    ("provider", "operation"), [("aws", "eks"), ("gcp", "gke"), ("azure", "arm")]
)
async def test_other_refusals_and_nonsense_are_told_as_such(
    web: Web, cloud: Cloud, provider: str, operation: str
) -> None:
    cloud.refusals[operation] = (400, "<html>")
    with pytest.raises(CredentialsError, match=r"cannot be described: .* answered 400 Bad Request"):
        await describe(web, cloud, provider)
    for answer in ({}, "\xff", {"cluster": {"endpoint": SERVER, "certificateAuthority": {}}}):
        cloud.refusals[operation] = (200, answer)
        with pytest.raises(CredentialsError, match=r"the cloud does not say where .* is"):
            await describe(web, cloud, provider)


@pytest.mark.parametrize(
    ("provider", "operation"), [("aws", "eks"), ("gcp", "gke"), ("azure", "arm")]
)
async def test_cloud_that_does_not_answer_is_named(
    web: Web, cloud: Cloud, provider: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources_web, "SILENCE_S", 0.2)
    cloud.silent.add(operation)
    with pytest.raises(CredentialsError, match=r"cannot be described: .* did not answer in time"):
        await describe(web, cloud, provider)


async def test_keys_that_aws_does_not_know_are_refused_by_it(web: Web, cloud: Cloud) -> None:
    other = Keys(LENT.access_key, "another secret", LENT.session_token)
    with pytest.raises(CredentialsError, match="The security token included in the request is inv"):
        await eks.describe(web, eks.parse(NAMES["aws"]), other, SystemClock())


async def test_cluster_without_entra_id_says_how_to_switch_it_on(web: Web, cloud: Cloud) -> None:
    cloud.profile = None
    with pytest.raises(CredentialsError, match=r"'prod' does not take tokens of .*--enable-aad"):
        await describe(web, cloud, "azure")


async def test_authority_that_is_no_base64_is_told(web: Web, cloud: Cloud) -> None:
    answer = {"endpoint": SERVER, "certificateAuthority": {"data": "%"}}
    cloud.refusals["eks"] = (200, {"cluster": answer})
    with pytest.raises(CredentialsError, match="the cloud does not say where EKS cluster 'prod'"):
        await describe(web, cloud, "aws")
    cloud.refusals["gke"] = (200, {"masterAuth": {"clusterCaCertificate": ""}})
    with pytest.raises(CredentialsError, match="the cloud does not say where GKE cluster"):
        await describe(web, cloud, "gcp")


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "prod",
        "arn:aws:eks:eu-west-1:1:nodegroup/prod",
        "arn:aws:eks:evil.example/:1:cluster/prod",
        "arn:aws:eks:eu-west-1:1:cluster/../prod",
        "arn:aws-iso:eks:us-iso-east-1:1:cluster/prod",
        "arn:aws:eks:eu-west-1:1:cluster/prod\n",
    ],
)
def test_what_is_no_name_of_an_eks_cluster_is_refused(arn: str) -> None:
    with pytest.raises(
        CredentialsError, match=r"(?s)invalid EKS cluster ARN: .* is not such as arn:aws"
    ):
        eks.parse(arn)


def test_partition_decides_the_domain_of_aws() -> None:
    assert eks.parse("arn:aws-cn:eks:cn-north-1:1:cluster/a").domain == "amazonaws.com.cn"
    assert eks.parse("arn:aws-us-gov:eks:us-gov-east-1:1:cluster/a").domain == "amazonaws.com"


@pytest.mark.parametrize(
    "name", ["", "prod", "projects/../locations/l/clusters/c", "projects/p/zones/z/clusters/c"]
)
def test_what_is_no_name_of_a_gke_cluster_is_refused(name: str) -> None:
    with pytest.raises(
        CredentialsError, match=r"invalid GKE cluster ID: .* is not such as projects"
    ):
        gke.check(name)


@pytest.mark.parametrize(
    "name", ["", "prod", NAMES["azure"].replace("group", ".."), NAMES["azure"] + "/x"]
)
def test_what_is_no_name_of_an_aks_cluster_is_refused(name: str) -> None:
    with pytest.raises(
        CredentialsError, match=r"invalid AKS cluster ID: .* is not such as /subscri"
    ):
        aks.check(name)


def test_resource_ids_of_azure_are_of_any_case() -> None:
    name = NAMES["azure"].replace("resourceGroups", "resourcegroups")
    assert aks.check(name) == name


def test_token_of_eks_is_a_question_that_aws_answers_for_this_cluster_alone() -> None:
    url = roles.ENDPOINT.format(region="eu-west-1", domain="amazonaws.com")
    assert url == "https://sts.eu-west-1.amazonaws.com/"
    token = eks.token(eks.parse(NAMES["aws"]), LENT, dt.datetime.now(dt.UTC))
    assert "=" not in token
    asked = kubeclouds.question(token)
    assert asked.startswith(url)
    assert kubeclouds.caller(asked, "prod") == kubeclouds.ROLE
    assert kubeclouds.caller(asked, "other") is None
