"""Version ranges, against the answers of Masterminds/semver."""

from __future__ import annotations

import pytest

from sources import semver

ADMITTED = [
    ("1.2.3", "1.2.3"),
    ("=1.2.3", "v1.2.3"),
    ("1.2", "1.2.9"),
    ("1", "1.9.0"),
    ("1.x", "1.0.0"),
    ("1.2.X", "1.2.0"),
    ("*", "0.0.1"),
    ("x", "9.9.9"),
    (">=1.0.0", "1.0.0"),
    (">= 1.0.0, < 2.0.0", "1.9.9"),
    (">=1.0.0 <2.0.0", "1.9.9"),
    ("~1.2.3", "1.2.9"),
    ("~1.2", "1.2.0"),
    ("~1", "1.9.0"),
    ("~>1.2.3", "1.2.4"),
    ("^1.2.3", "1.9.0"),
    ("^0.2.3", "0.2.9"),
    ("^0.0.3", "0.0.3"),
    ("^0.0", "0.0.9"),
    ("^0", "0.9.0"),
    ("1.2 - 1.4.5", "1.4.5"),
    ("1.2.3 - 2.3", "2.3.9"),
    ("<1.0.0 || >=2.0.0", "2.1.0"),
    ("<1.0.0||>=2.0.0", "0.1.0"),
    ("!=1.2.3", "1.2.4"),
    ("!=1.2.x", "1.3.0"),
    (">1", "2.0.0"),
    (">1.2", "1.3.0"),
    ("<=1", "1.9.0"),
    ("<=1.2", "1.2.9"),
    (">=1.0.0-0", "1.0.0-rc.1"),
    (">=1.0.0-0 <2.0.0", "1.5.0-beta"),
    ("~1.2.3-beta.2", "1.2.3-beta.4"),
    ("^1.0.0-alpha", "1.2.0-rc.1"),
    ("1.2.3+build.5", "1.2.3+other"),
]
REFUSED = [
    ("1.2.3", "1.2.4"),
    ("1.2", "1.3.0"),
    ("1.x", "2.0.0"),
    ("~1.2.3", "1.3.0"),
    ("~1.2.3", "1.2.2"),
    ("^1.2.3", "2.0.0"),
    ("^0.2.3", "0.3.0"),
    ("^0.0.3", "0.0.4"),
    ("^0.0", "0.1.0"),
    ("1.2 - 1.4.5", "1.4.6"),
    ("!=1.2.x", "1.2.7"),
    (">1", "1.5.0"),
    (">1.2", "1.2.9"),
    ("<=1", "2.0.0"),
    ("<2.x", "2.0.0"),
    ("*", "1.0.0-rc.1"),
    (">=1.0.0", "1.1.0-rc.1"),
    (">=1.0.0 <2.0.0 || >=3.0.0-0", "1.5.0-rc.1"),
    ("~1.2.3-beta.2", "1.2.3-beta.1"),
    (">=1.0.0-beta.10", "1.0.0-beta.9"),
]


@pytest.mark.parametrize(("text", "version"), ADMITTED)
def test_range_admits_version(text: str, version: str) -> None:
    parsed = semver.parse(version)
    assert parsed is not None
    assert semver.Range(text).admits(parsed)


@pytest.mark.parametrize(("text", "version"), REFUSED)
def test_range_refuses_version(text: str, version: str) -> None:
    parsed = semver.parse(version)
    assert parsed is not None
    assert not semver.Range(text).admits(parsed)


@pytest.mark.parametrize(
    "text", ["", "latest", ">=", "1.2.3.4", ">=1.0.0 ||", "=> <= 1", "1.2.3 & 2"]
)
def test_text_that_is_no_range_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(semver.InvalidRangeError, match="improper constraint"):
        semver.Range(text)


@pytest.mark.parametrize("tag", ["release", "1.2.3.4", "", "v", "1.2.3-", "x1.2.3"])
def test_tags_that_are_no_versions_are_passed_over(tag: str) -> None:
    assert semver.parse(tag) is None


def test_versions_order_as_the_specification_says() -> None:
    order = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    order += ["1.0.0-rc.1", "1.0.0", "1.0.1", "1.1", "v2"]
    versions = [version for text in order if (version := semver.parse(text))]
    assert len(versions) == len(order)
    assert sorted(versions, reverse=True) == versions[::-1]


def test_build_metadata_does_not_distinguish_versions() -> None:
    assert semver.parse("1.0.0+a") == semver.parse("v1.0.0+b")
