"""Names of repositories, tags and digests."""

from __future__ import annotations

import pytest

from sources.oci import names
from sources.oci.names import Name


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("oci://ghcr.io/stefanprodan/charts", "ghcr.io", "stefanprodan/charts"),
        ("ghcr.io/stefanprodan/charts/", "ghcr.io", "stefanprodan/charts"),
        ("oci://localhost:5000/podinfo", "localhost:5000", "podinfo"),
        ("oci://localhost/podinfo", "localhost", "podinfo"),
        ("oci://[::1]:5000/podinfo", "[::1]:5000", "podinfo"),
        ("oci://library/nginx", "index.docker.io", "library/nginx"),
        ("oci://nginx", "index.docker.io", "library/nginx"),
        ("oci://docker.io/org/app", "index.docker.io", "org/app"),
        ("oci://r.example.com/a__b/c-d.e", "r.example.com", "a__b/c-d.e"),
    ],
)
def test_url_names_a_host_and_a_path(url: str, host: str, path: str) -> None:
    assert names.parse(url) == Name(host, path)


@pytest.mark.parametrize(
    "url",
    [
        "oci://",
        "oci://ghcr.io/",
        "oci://ghcr.io",
        "oci://ghcr.io/UPPER",
        "oci://ghcr.io/a//b",
        "oci://ghcr.io/../b",
        "oci://ghcr.io/a b",
        "oci://user:secret@ghcr.io/a",
        "oci://ghcr.io/a?x=y",
        "oci://ghcr.io/" + "a" * 256,
    ],
)
def test_text_that_names_no_repository_is_refused(url: str) -> None:
    with pytest.raises(names.InvalidNameError) as caught:
        names.parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("tail", [":6.1.0", "@sha256:" + "0" * 64])
def test_tag_in_a_url_is_refused_with_what_to_remove(tail: str) -> None:
    with pytest.raises(names.InvalidNameError, match=f"must not contain a tag; remove '{tail}'"):
        names.parse(f"oci://ghcr.io/org/app{tail}")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:5000", "127.0.0.1:1", "10.1.2.3", "192.168.0.9:5000", "nas.local"],
)
def test_host_of_a_private_network_is_near(host: str) -> None:
    assert Name(host, "a").is_near


@pytest.mark.parametrize(
    "host", ["ghcr.io", "8.8.8.8", "local.example.com", "localhost.example.com"]
)
def test_other_host_is_not_near(host: str) -> None:
    assert not Name(host, "a").is_near


def test_tags_and_digests_are_checked() -> None:
    digest = "sha256:" + "a" * 64
    assert names.check_tag("v1.2.3_build") == "v1.2.3_build"
    assert names.check_digest(digest) == digest
    for tag in ("", "-x", "a/b", "a" * 129, "../x"):
        with pytest.raises(names.InvalidNameError):
            names.check_tag(tag)
    for text in ("", "sha256:abc", "md5:" + "a" * 32, digest.upper()):
        with pytest.raises(names.InvalidNameError):
            names.check_digest(text)
