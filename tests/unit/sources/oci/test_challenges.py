"""The header by which a registry says what it wants."""

from __future__ import annotations

import pytest

from sources.oci import challenges
from sources.oci.challenges import Challenge

BEARER = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="aws"'


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        (["Negotiate"], None),
        (["Basic realm=Registry"], Challenge("basic", "Registry")),
        (['BASIC realm="a \\"b\\", c"'], Challenge("basic", 'a "b", c')),
        (
            [BEARER],
            Challenge("bearer", "https://auth.docker.io/token", "registry.docker.io", "aws"),
        ),
        (
            ['Bearer realm="https://r/t" , service="s", error="invalid_token"'],
            Challenge("bearer", "https://r/t", "s"),
        ),
        (['Basic realm="x"', 'Bearer realm="https://r/t"'], Challenge("bearer", "https://r/t")),
        (['Basic realm="x", Bearer realm="https://r/t"'], Challenge("bearer", "https://r/t")),
        (["Negotiate, Basic realm=x"], Challenge("basic", "x")),
        (["=,=,=", '"'], None),
    ],
)
def test_challenge_is_chosen(headers: list[str], expected: Challenge | None) -> None:
    assert challenges.choose(headers) == expected
