"""Signatures, held to AWS's published examples and to botocore."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from sources.bucket import sigv4
from sources.bucket.sigv4 import Keys, Scope

# The examples of "Signature Calculations for the Authorization Header" in S3's API reference.
EXAMPLE = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = "examplebucket.s3.amazonaws.com"
THEN = dt.datetime(2013, 5, 24, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("target", "headers", "signature"),
    [
        (
            "/test.txt",
            {"Range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "/?lifecycle=",
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            f"/?{sigv4.query([('prefix', 'J'), ('max-keys', '2')])}",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_published_examples(target: str, headers: dict[str, str], signature: str) -> None:
    signed = sigv4.sign("GET", target, {"Host": HOST, **headers}, EXAMPLE, Scope("us-east-1"), THEN)
    assert signed["Authorization"].endswith(f"Signature={signature}")


def of_botocore(target: str, keys: Keys, now: dt.datetime, monkeypatch: Any) -> str:
    """Return what botocore puts into the same request."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: now, raising=True)
    request = AWSRequest(method="GET", url=f"https://store.example:9000{target}")
    token = keys.session_token or None
    credentials = Credentials(keys.access_key, keys.secret_key, token)
    S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
    return str(request.headers["Authorization"])


@pytest.mark.parametrize("token", ["", "lent/for+a=while"])
@pytest.mark.parametrize(
    "key",
    ["a", "a b", "a+b", "ä/ö", "a%2Fb", "~._-", "a/b/c.yaml", "x=1&y", "日本", "'()*!", "a//b"],
)
@pytest.mark.parametrize("parameters", [[], [("list-type", "2"), ("prefix", "a b/+"), ("z", "")]])
def test_same_as_botocore(
    key: str,
    parameters: list[tuple[str, str]],
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = Keys("access", "secret", token)
    now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    target = sigv4.path(f"/box/{key}")
    if parameters:
        target += f"?{sigv4.query(parameters)}"
    headers = {"Host": "store.example:9000"}
    signed = sigv4.sign("GET", target, headers, keys, Scope("eu-west-1"), now)
    assert signed["Authorization"] == of_botocore(target, keys, now, monkeypatch)


def test_request_with_a_body_is_signed_as_by_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: now, raising=True)
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Registry.Get"}
    host, body = "api.ecr.eu-west-1.amazonaws.com", b'{"a": 1}'
    content = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
    request = AWSRequest("POST", f"https://{host}/", {**headers, **content}, body)
    SigV4Auth(Credentials("access", "secret", "lent"), "ecr", "eu-west-1").add_auth(request)
    signed = sigv4.sign(
        "POST",
        "/",
        {"Host": host, **headers},
        Keys("access", "secret", "lent"),
        Scope("eu-west-1", "ecr"),
        now,
        body,
    )
    assert signed["Authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize("token", ["", "lent/for+a=while"])
def test_url_for_others_is_signed_as_by_botocore(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: now, raising=True)
    url = URL("https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15")
    headers, keys = {"x-k8s-aws-id": "prod"}, Keys("access", "secret", token)
    request = AWSRequest("GET", str(url), headers)
    credentials = Credentials("access", "secret", token or None)
    SigV4QueryAuth(credentials, "sts", "eu-west-1", expires=900).add_auth(request)
    given = URL(sigv4.presign(url, headers, keys, Scope("eu-west-1", "sts"), now, 900))
    assert dict(given.query) == dict(URL(request.url).query)
    assert given.with_query(None) == url.with_query(None)


def test_usual_port_is_no_part_of_the_host_that_is_signed() -> None:
    assert sigv4.host(URL("https://sts.amazonaws.com/")) == "sts.amazonaws.com"
    assert sigv4.host(URL("https://sts.amazonaws.com:444/")) == "sts.amazonaws.com:444"
    with pytest.raises(ValueError, match="a URL without a host cannot be signed"):
        sigv4.host(URL("/"))


def test_keys_show_no_secret() -> None:
    assert "hush" not in repr(Keys("access", "hush", "hush"))
