"""What AWS CodeCommit is shown, held to what AWS's own library would show."""

from __future__ import annotations

import datetime as dt

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sources.auth import codecommit, roles
from sources.auth.errors import CredentialsError
from sources.bucket.sigv4 import Keys

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
URL = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/fleet"


@pytest.mark.parametrize("session", ["", "lent/for+an=hour"])
def test_password_is_the_signature_of_awss_own_credential_helper(session: str) -> None:
    request = AWSRequest(method="GIT", url=URL)
    request.context["timestamp"] = "20260304T050607"
    signer = SigV4Auth(Credentials("AKIA", "secret"), "codecommit", "eu-west-1")
    canonical = "GIT\n/v1/repos/fleet\n\nhost:git-codecommit.eu-west-1.amazonaws.com\n\nhost\n"
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    username, password = codecommit.login(Keys("AKIA", "secret", session), URL, NOW)
    assert username == ("AKIA%" + session if session else "AKIA")
    assert password == f"20260304T050607Z{signature}"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("git-codecommit.us-east-1.amazonaws.com", "us-east-1"),
        ("git-codecommit-fips.us-west-2.amazonaws.com", "us-west-2"),
        ("git-codecommit.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_region_is_in_the_host_name(host: str, region: str) -> None:
    assert codecommit.region(f"https://{host}/v1/repos/x") == region


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://git-codecommit.us-east-1.amazonaws.com/x", "requires an HTTPS Git URL"),
        ("ssh://git-codecommit.us-east-1.amazonaws.com/x", "requires an HTTPS Git URL"),
        ("https://github.com/a/b", "invalid AWS CodeCommit Git URL: github.com"),
        ("https://git-codecommit.us-east-1.amazonaws.com.evil.org/x", "invalid AWS CodeCommit"),
        ("https://evil.org/git-codecommit.us-east-1.amazonaws.com", "invalid AWS CodeCommit"),
        ("https://amazonaws.com/x", "invalid AWS CodeCommit Git URL: amazonaws.com"),
    ],
)
def test_signature_is_for_no_other_server(url: str, text: str) -> None:
    with pytest.raises(CredentialsError, match=text):
        codecommit.region(url)


def test_role_has_to_be_one() -> None:
    role = "arn:aws:iam::123456789012:role/reader"
    assert roles.check_role(role) == role
    with pytest.raises(CredentialsError, match=r"invalid eks\.amazonaws\.com/role-arn annotation"):
        roles.check_role("reader")
