"""The path of a Receiver's webhook."""

from __future__ import annotations

import hashlib

from reconcilers import receiver


def test_the_digest_is_over_token_name_and_namespace_joined_with_nothing() -> None:
    digest = hashlib.sha256(b"test-tokengitflux").hexdigest()
    assert receiver.webhook_path(b"test-token", "git", "flux") == f"/hook/{digest}"


def test_a_token_may_be_any_bytes() -> None:
    digest = hashlib.sha256(b"\xff\x00\nab").hexdigest()
    assert receiver.webhook_path(b"\xff\x00\n", "a", "b") == f"/hook/{digest}"
