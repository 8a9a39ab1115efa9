"""Signatures of webhook calls."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlencode

import pytest

from daemon import signatures

SECRET, BODY = b"It's a Secret to Everybody", b"Hello, World!"
KNOWN = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
"""The example in GitHub's own documentation."""


def sign(algorithm: str) -> str:
    return f"{algorithm}={hmac.new(SECRET, BODY, algorithm).hexdigest()}"


def check(header: str | None, secret: bytes = SECRET, body: bytes = BODY) -> None:
    signature = signatures.Signature(header, secret)
    signature.update(body)
    signature.check()


def test_the_documented_example_of_github_is_accepted() -> None:
    check(KNOWN)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_every_algorithm_of_flux_is_accepted(algorithm: str) -> None:
    check(sign(algorithm))


def test_a_body_may_arrive_in_parts() -> None:
    signature = signatures.Signature(KNOWN, SECRET)
    for part in (BODY[:5], b"", BODY[5:]):
        signature.update(part)
    signature.check()


def test_letters_of_either_case_are_accepted() -> None:
    check(KNOWN.replace("757107ea", "757107EA"))


@pytest.mark.parametrize(
    "header",
    [None, "", "sha256", "sha256=", "=abc", "md5=" + hashlib.md5(BODY).hexdigest(), KNOWN[:-1],
     "sha256=" + "0" * 64, "sha1=" + KNOWN[7:], "sha256=ä"],
)  # fmt: skip
def test_any_other_header_is_refused(header: str | None) -> None:
    with pytest.raises(signatures.SignatureError):
        check(header)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(signatures.SignatureError, match="does not match"):
        check(KNOWN, body=BODY + b" ")


def test_an_empty_secret_accepts_nothing() -> None:
    empty = "sha256=" + hmac.new(b"", BODY, "sha256").hexdigest()
    with pytest.raises(signatures.SignatureError, match="no secret"):
        check(empty, secret=b"")


def test_github_s_sha256_comes_before_its_sha1() -> None:
    headers = {signatures.GITHUB_SHA256: KNOWN, signatures.GITHUB_SHA1: "sha1=0"}
    signature = signatures.github(headers, SECRET)
    signature.update(BODY)
    signature.check()


def test_a_message_quotes_nothing_of_the_call() -> None:
    with pytest.raises(signatures.SignatureError) as caught:
        check("sha256=" + "ab" * 32)
    assert "abab" not in str(caught.value)


def test_a_payload_comes_as_json_or_in_a_form() -> None:
    text = '{"ref": "refs/heads/a+b&c=d"}'
    form = urlencode({"payload": text}).encode()
    assert signatures.payload("application/json", text.encode()) == text.encode()
    assert signatures.payload("application/x-www-form-urlencoded", form) == text.encode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", b"{}"),
        ("application/x-www-form-urlencoded", b"other=1"),
        ("application/x-www-form-urlencoded", b"payload="),
        ("application/x-www-form-urlencoded", b""),
        ("application/x-www-form-urlencoded", b"\xff"),
        ("application/x-www-form-urlencoded", b"payload={}&" + b"&".join([b"a=1"] * 20)),
    ],
)
def test_a_payload_in_any_other_shape_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(signatures.PayloadError):
        signatures.payload(content_type, body)
