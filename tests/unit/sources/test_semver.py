"""Version ranges, against the answers of Masterminds/semver."""

from __future__ import annotations

import json
from pathlib import Path

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


GOLDEN = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "semver-golden.jsonl").read_text().splitlines()
]
"""What Masterminds/semver v3.5.0, the one inside Helm 4.3, says of versions and ranges."""
RANGES = [row for row in GOLDEN if "range" in row]
VERSIONS = [row for row in GOLDEN if "version" in row]


def test_versions_are_read_as_by_the_original() -> None:
    for row in VERSIONS:
        found = semver.parse(row["version"])
        parts = found and [
            found.major,
            found.minor,
            found.patch,
            found.prerelease,
            found.metadata,
        ]
        said = (row["version"], parts, str(found) if found else None)
        assert said == (row["version"], row["parts"], row["text"])


def test_strict_versions_are_whole_and_may_have_a_leading_v() -> None:
    for row in VERSIONS:
        text = row["version"]
        is_strict = row["strict"] or text in {"v1.2.3", "v2.0.0"}
        assert (text, semver.parse_strict(text) is not None) == (text, is_strict)


def test_ranges_admit_what_the_original_admits() -> None:
    versions = [(row["version"], semver.parse(row["version"])) for row in VERSIONS]
    for row in RANGES:
        try:
            parsed = semver.Range(row["range"])
        except semver.InvalidRangeError:
            assert row["error"], row["range"]
            continue
        assert not row["error"], row["range"]
        admitted = sorted(text for text, each in versions if each and parsed.admits(each))
        assert (row["range"], admitted) == (row["range"], sorted(row["admits"]))


def test_metadata_is_replaced_and_completes_a_short_version() -> None:
    version = semver.parse("v1.2+old")
    assert version is not None
    assert str(version.with_metadata("abc.1")) == "1.2.0+abc.1"
    with pytest.raises(semver.InvalidMetadataError, match="a_b"):
        version.with_metadata("a_b")
