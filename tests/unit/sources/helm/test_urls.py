from __future__ import annotations

import pytest

from sources.helm import urls
from sources.oci.errors import ContentError


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://h/charts", "https://h/charts/"),
        ("https://h/charts//", "https://h/charts/"),
        ("https://h", "https://h/"),
        ("http://h:81/a%2Fb?x=1", "http://h:81/a%2Fb/?x=1"),
        ("oci://h/charts//", "oci://h/charts"),
    ],
)
def test_addresses_of_one_repository_are_equal(url: str, same: str) -> None:
    assert urls.normalise(url) == same


@pytest.mark.parametrize("url", ["https://", "https://h:x/", "http://[::1", "https://h:0/"])
def test_address_of_no_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        urls.normalise(url)


@pytest.mark.parametrize(
    ("url", "index"),
    [
        ("https://h/charts/", "https://h/charts/index.yaml"),
        ("https://h/", "https://h/index.yaml"),
        ("https://h/a%2Fb/?t=1&u=a%2Bb", "https://h/a%2Fb/index.yaml?t=1&u=a%2Bb"),
    ],
)
def test_index_is_below_the_repository(url: str, index: str) -> None:
    assert str(urls.index_of(url)) == index


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("web.tgz", "https://h/charts/web.tgz?t=1"),
        ("./a/web.tgz", "https://h/charts/a/web.tgz?t=1"),
        ("../web.tgz", "https://h/web.tgz?t=1"),
        ("/web.tgz", "https://h/web.tgz?t=1"),
        ("https://other/web.tgz?x=2", "https://other/web.tgz?x=2"),
        ("web%2B1.tgz", "https://h/charts/web%2B1.tgz?t=1"),
        ("web-1+2.tgz", "https://h/charts/web-1+2.tgz?t=1"),
        ("https://o/a%2fb.tgz?sig=a%2Bb%2Fc%3D", "https://o/a%2fb.tgz?sig=a%2Bb%2Fc%3D"),
        ("web 1.tgz", "https://h/charts/web%201.tgz?t=1"),
        ("//other/web.tgz", "https://other/web.tgz?t=1"),
    ],
)
def test_charts_are_where_the_index_says(reference: str, url: str) -> None:
    assert str(urls.resolve("https://h/charts/?t=1", reference)) == url


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://ada:secret@h:81/charts?token=t#f", "https://h:81/charts"),
        ("https://h", "https://h"),
        ("file://../near", "file://../near"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_messages_have_no_secret_of_a_url(url: str, text: str) -> None:
    assert urls.shown(url) == text


@pytest.mark.parametrize("reference", ["ftp://h/a.tgz", "javascript:1", "http://", "http://[::1"])
def test_reference_to_nothing_fetchable_is_refused(reference: str) -> None:
    with pytest.raises(ContentError, match="the index names"):
        urls.resolve("https://h/", reference)
