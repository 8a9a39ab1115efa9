"""Logins lent by clouds: for whom, and for which hosts."""

from __future__ import annotations

import pytest

from sources.auth.errors import CredentialsError
from sources.oci import clouds


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", ("eu-west-1", "amazonaws.com")),
        ("1.dkr.ecr-fips.us-gov-west-1.amazonaws.com", ("us-gov-west-1", "amazonaws.com")),
        ("1.dkr.ecr.cn-north-1.amazonaws.com.cn", ("cn-north-1", "amazonaws.com.cn")),
        ("public.ecr.aws", ("us-east-1", "amazonaws.com")),
    ],
)
def test_region_is_in_the_name_of_a_registry_of_aws(host: str, place: tuple[str, str]) -> None:
    assert clouds.ecr_place(host) == place


@pytest.mark.parametrize(
    "host",
    [
        "ghcr.io",
        "1.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
        "1.dkr.ecr.eu-west-1.evil.example",
        "evil.example:1.dkr.ecr.eu-west-1.amazonaws.com",
    ],
)
def test_other_host_gets_nothing_of_aws(host: str) -> None:
    with pytest.raises(CredentialsError, match="invalid AWS registry"):
        clouds.ecr_place(host)


def test_other_host_gets_nothing_of_azure() -> None:
    clouds.check_acr("acme.azurecr.io")
    for host in (
        "azurecr.io",
        "acme.azurecr.io.evil.example",
        "acme.azurecr.io:444",
        "evil.example",
    ):
        with pytest.raises(CredentialsError, match="invalid Azure registry"):
            clouds.check_acr(host)


def test_other_host_gets_nothing_of_google() -> None:
    for host in ("gcr.io", "eu.gcr.io", "europe-west1-docker.pkg.dev"):
        clouds.check_gar(host)
    for host in ("gcr.io.evil.example", "evilgcr.io", "x.docker.pkg.dev", "ghcr.io"):
        with pytest.raises(CredentialsError, match="invalid GCP registry"):
            clouds.check_gar(host)


def test_annotations_of_google_are_checked() -> None:
    provider = "projects/1/locations/global/workloadIdentityPools/pool/providers/home"
    for text in (
        provider,
        f"//iam.googleapis.com/{provider}",
        f"https://iam.googleapis.com/{provider}",
    ):
        assert clouds.pool(text) == f"//iam.googleapis.com/{provider}"
    for text in ("", "pool", f"//evil.example/{provider}", f"{provider}/more"):
        with pytest.raises(CredentialsError, match="workload-identity-provider annotation"):
            clouds.pool(text)
    assert clouds.check_account("a@p.iam.gserviceaccount.com") == "a@p.iam.gserviceaccount.com"
    for text in ("a@evil.example", "a/../b@p.iam.gserviceaccount.com"):
        with pytest.raises(CredentialsError, match="gcp-service-account annotation"):
            clouds.check_account(text)
