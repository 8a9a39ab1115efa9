"""Which address of a cluster is taken, and by whose word its certificate is believed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from reconcilers.cloudclusters import Wanted, Way
from sources.auth.clusters.described import Described

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
BY_NAME = "https://gke-1.europe-west1.gke.goog"
KNOWN = Described({"https://10.0.0.1": b"cluster", BY_NAME: b""})


@pytest.mark.parametrize(
    ("address", "authority", "server", "believed"),
    [
        ("", b"", "https://10.0.0.1", b"cluster"),
        ("", b"own", "https://10.0.0.1", b"own"),
        ("https://10.0.0.1:443", b"", "https://10.0.0.1:443", b"cluster"),
        (BY_NAME, b"", BY_NAME, None),
        (BY_NAME, b"own", BY_NAME, b"own"),
        ("https://balancer.example", b"", "https://balancer.example", b"cluster"),
    ],
)
def test_address_decides_whose_word_the_certificate_needs(
    address: str, authority: bytes, server: str, believed: bytes | None
) -> None:
    nobody: Any = None
    way = Way(nobody, Wanted("gcp", "c", address, authority))
    made = way._made(KNOWN, "t", NOW)
    assert (made.server, made.authority) == (server, believed)
    assert (made.authorization, made.expires_at) == ("Bearer t", NOW)
