"""Where buckets are: hosts, paths and regions, as MinIO's client finds them."""

from __future__ import annotations

import pytest

from sources.bucket.s3 import Place


@pytest.mark.parametrize(
    ("endpoint", "bucket", "region", "origin", "signed"),
    [
        ("minio.example:9000", "box", "", ("minio.example:9000", "/box"), "us-east-1"),
        ("minio.example", "box", "eu-1", ("minio.example", "/box"), "eu-1"),
        ("[::1]:9000", "box", "", ("[::1]:9000", "/box"), "us-east-1"),
        ("s3.amazonaws.com", "box", "", ("box.s3.amazonaws.com", "/"), "us-east-1"),
        (
            "s3.amazonaws.com",
            "box",
            "eu-west-1",
            ("box.s3.eu-west-1.amazonaws.com", "/"),
            "eu-west-1",
        ),
        (
            "s3.eu-central-1.amazonaws.com",
            "box",
            "",
            ("box.s3.eu-central-1.amazonaws.com", "/"),
            "eu-central-1",
        ),
        (
            "s3.dualstack.us-gov-west-1.amazonaws.com",
            "box",
            "",
            ("box.s3.dualstack.us-gov-west-1.amazonaws.com", "/"),
            "us-gov-west-1",
        ),
        (
            "s3.cn-north-1.amazonaws.com.cn",
            "box",
            "",
            ("box.s3.cn-north-1.amazonaws.com.cn", "/"),
            "cn-north-1",
        ),
        ("s3.amazonaws.com", "a.b", "", ("s3.amazonaws.com", "/a.b"), "us-east-1"),
        ("s3.amazonaws.com", "Old_Name", "", ("s3.amazonaws.com", "/Old_Name"), "us-east-1"),
        ("storage.googleapis.com", "box", "", ("box.storage.googleapis.com", "/"), "us-east-1"),
        (
            "oss-eu-1.aliyuncs.com:443",
            "box",
            "",
            ("box.oss-eu-1.aliyuncs.com:443", "/"),
            "us-east-1",
        ),
        (
            "amazonaws.com.evil.example",
            "box",
            "",
            ("amazonaws.com.evil.example", "/box"),
            "us-east-1",
        ),
    ],
)
def test_bucket_is_in_the_host_or_in_the_path(
    endpoint: str, bucket: str, region: str, origin: tuple[str, str], signed: str
) -> None:
    place = Place(endpoint, bucket, region)
    assert place.origin == origin
    assert place.signed_region == signed


@pytest.mark.parametrize(
    "endpoint", ["", "https://host", "host/path", "user@host", "host:port", "ho st", "host:123456"]
)
def test_endpoint_is_a_host(endpoint: str) -> None:
    with pytest.raises(ValueError, match="has to be a host"):
        Place(endpoint, "box")
