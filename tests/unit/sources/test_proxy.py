"""Proxies from Secrets."""

from __future__ import annotations

import pytest

from sources.auth import proxy
from sources.auth.errors import CredentialsError
from sources.auth.proxy import Proxy

NAME = "apps/proxy"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"address": b"http://proxy:3128\n"}, Proxy("http://proxy:3128")),
        (
            {"address": b"https://proxy", "username": b"a", "password": b"b"},
            Proxy("https://proxy", "a", "b"),
        ),
        ({"address": b"http://a%40x:b@proxy:3128"}, Proxy("http://proxy:3128", "a@x", "b")),
        (
            {"address": b"http://u:p@proxy", "username": b"a", "password": b"b"},
            Proxy("http://proxy", "a", "b"),
        ),
    ],
)
def test_proxy_is_read(data: dict[str, bytes], expected: Proxy) -> None:
    assert proxy.from_secret(data, NAME) == expected


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (b"", "key 'address' is missing"),
        (b"proxy:3128", "'address' is no http://, https:// or socks5:// address"),
        (b"http://", "'address' is no http://, https:// or socks5:// address"),
        (b"http://proxy:port", "'address' is no http://, https:// or socks5:// address"),
        (b"ftp://proxy", "'address' is no http://, https:// or socks5:// address"),
        (b"socks4://proxy:1080", "'address' is no http://, https:// or socks5:// address"),
        (b"http://" + b"x" * 2048, "'address' is longer than 2048 characters"),
    ],
)
def test_address_that_cannot_be_used_is_named(address: bytes, text: str) -> None:
    with pytest.raises(CredentialsError, match=text) as caught:
        proxy.from_secret({"address": address}, NAME)
    assert NAME in str(caught.value)


def test_password_is_shown_nowhere() -> None:
    found = proxy.from_secret({"address": b"http://u:hunter2@proxy"}, NAME)
    assert "hunter2" not in repr(found)
    assert found.headers["Proxy-Authorization"].startswith("Basic ")
    assert Proxy("http://proxy").headers == {}


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_login_of_a_socks_proxy_is_in_no_header(scheme: str) -> None:
    found = proxy.from_secret({"address": f"{scheme}://u:p@proxy:1080".encode()}, NAME)
    assert found == Proxy(f"{scheme}://proxy:1080", "u", "p")
    assert found.is_socks
    assert found.headers == {}
    assert not Proxy("http://proxy").is_socks
