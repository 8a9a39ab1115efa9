"""The range of Flux versions that a FluxInstance asks for."""

from __future__ import annotations

import pytest

from api import meta
from reconcilers.instance import reconciler
from runtime.errors import TerminalError


@pytest.mark.parametrize(
    "wanted", ["2.x", "2.9.x", "v2.9.0", "2.9", ">=2.7 <3", "^2.8.0", "*", "2.8.x || 2.9.x"]
)
def test_range_that_admits_the_served_version_is_accepted(wanted: str) -> None:
    reconciler.check_version(wanted)


@pytest.mark.parametrize("wanted", ["2.8.x", "1.x", "<2.9.0", ">=2.10", "2.9.0-rc.1"])
def test_range_that_admits_another_version_alone_fails_the_build(wanted: str) -> None:
    with pytest.raises(TerminalError, match="no match found for semver: ") as caught:
        reconciler.check_version(wanted)
    assert caught.value.reason == meta.BUILD_FAILED
    assert meta.FLUX_VERSION in caught.value.message


@pytest.mark.parametrize("wanted", ["", "latest", "2.x.y.z"])
def test_text_that_is_no_range_fails_the_build(wanted: str) -> None:
    with pytest.raises(TerminalError, match="parse error: improper constraint") as caught:
        reconciler.check_version(wanted)
    assert caught.value.reason == meta.BUILD_FAILED
