"""Credentials from Secrets and URLs."""

from __future__ import annotations

import base64

import pytest

from sources.auth import basic
from sources.auth.basic import Credentials
from sources.auth.errors import CredentialsError
from sources.auth.tls import Trust

NAME = "apps/git"


def test_basic_credentials() -> None:
    found = basic.from_secret({"username": b"ada", "password": b"p:w"}, NAME)
    assert found.authorization == "Basic " + base64.b64encode(b"ada:p:w").decode()


def test_line_end_that_an_editor_left_is_no_part_of_a_value() -> None:
    assert basic.from_secret({"username": b"ada\n", "password": b"pw\r\n"}, NAME) == Credentials(
        "ada", "pw"
    )


def test_bearer_token_wins_over_username_and_password() -> None:
    data = {"username": b"ada", "password": b"pw", "bearerToken": b"t0ken"}
    assert basic.from_secret(data, NAME).authorization == "Bearer t0ken"


def test_secret_without_credentials_is_anonymous_with_its_authority() -> None:
    found = basic.from_secret({"ca.crt": b"PEM"}, NAME)
    assert (found.authorization, found.trust.ca) == ("", b"PEM")


def test_newer_key_of_the_authority_wins() -> None:
    assert basic.from_secret({"ca.crt": b"new", "caFile": b"old"}, NAME).trust.ca == b"new"
    assert basic.from_secret({"caFile": b"old"}, NAME).trust.ca == b"old"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"password": b"pw"}, "password requires a username"),
        ({"tls.crt": b"x"}, "a client certificate needs 'tls.key' too"),
        ({"tls.key": b"x"}, "a client certificate needs 'tls.crt' too"),
        ({"username": b"\xff", "password": b"pw"}, "key 'username' is not UTF-8 text"),
        ({"bearerToken": b"a\nb"}, "key 'bearerToken' holds a line break"),
    ],
)
def test_secret_that_cannot_be_used_is_named(data: dict[str, bytes], text: str) -> None:
    with pytest.raises(CredentialsError, match=text) as caught:
        basic.from_secret(data, NAME)
    assert NAME in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        ("https://host/x", Credentials("a", "b"), ("https://host/x", Credentials("a", "b"))),
        (
            "https://u%40x:p%3Aw@host/x",
            Credentials(),
            ("https://host/x", Credentials("u@x", "p:w")),
        ),
        ("https://token@host:8443/x", Credentials(), ("https://host:8443/x", Credentials("token"))),
        ("https://u:p@host/x", Credentials("a", "b"), ("https://host/x", Credentials("a", "b"))),
        (
            "https://u:p@host/x",
            Credentials(trust=Trust(b"PEM")),
            ("https://host/x", Credentials("u", "p", trust=Trust(b"PEM"))),
        ),
    ],
)
def test_user_information_of_the_url_is_a_fallback(
    url: str, given: Credentials, expected: tuple[str, Credentials]
) -> None:
    assert basic.split_url(url, given) == expected


def test_user_information_and_a_bearer_token_contradict_each_other() -> None:
    with pytest.raises(CredentialsError):
        basic.split_url("https://u:p@host/x", Credentials(bearer_token="t"))


def test_no_secret_is_shown() -> None:
    text = repr(Credentials("ada", "hunter2", "t0ken", Trust(b"PEM")))
    assert "hunter2" not in text
    assert "t0ken" not in text


def test_identity_differs_with_every_part_and_tells_nothing() -> None:
    all_of = [
        Credentials(),
        Credentials("a", "b"),
        Credentials("a", "c"),
        Credentials(bearer_token="b"),
        Credentials("a", "b", trust=Trust(b"PEM")),
    ]
    assert len({each.identity for each in all_of}) == len(all_of)
    assert Credentials("a", "b").identity == Credentials("a", "b").identity


def test_authority_that_does_not_parse() -> None:
    with pytest.raises(CredentialsError, match="invalid CA certificate"):
        Credentials(trust=Trust(b"nonsense")).trust.context()
