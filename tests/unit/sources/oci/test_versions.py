"""Which tag a range of versions means."""

from __future__ import annotations

import pytest

from sources.oci import manifests, versions

TAGS = ("latest", "1.0.0", "v1.2.0", "1.10.0", "1.2", "2.0.0-rc.1", "1.3.0_build.7", "main")


@pytest.mark.parametrize(
    ("constraint", "pattern", "tag"),
    [
        ("*", "", "1.10.0"),
        ("1.x", "", "1.10.0"),
        ("<1.10", "", "v1.2.0"),
        (">=2.0.0-0", "", "2.0.0-rc.1"),
        ("*", "^v", "v1.2.0"),
        ("*", r"^1\.0", "1.0.0"),
        ("~1.2", "", "v1.2.0"),
    ],
)
def test_highest_version_that_passes_is_chosen(constraint: str, pattern: str, tag: str) -> None:
    assert versions.choose(TAGS, constraint, pattern) == tag


def test_tags_of_charts_write_build_metadata_their_own_way() -> None:
    tags = ("1.2.0", "1.3.0_build.7")
    assert versions.choose(tags, ">=1", media_type=manifests.HELM_CHART) == "1.3.0_build.7"
    assert versions.choose(tags, ">=1") == "1.2.0"
    assert versions.to_version("1.3.0_build.7") == "1.3.0+build.7"
    assert versions.to_tag("1.3.0+build.7") == "1.3.0_build.7"


def test_first_of_equal_versions_is_chosen() -> None:
    assert versions.choose(("1.0.0", "v1.0.0"), "*") == "1.0.0"


@pytest.mark.parametrize(
    ("constraint", "pattern", "words"),
    [
        (">=3", "", "no match found for semver: >=3"),
        ("*", "nothing", "no match found for semver"),
        ("soon", "", "semver 'soon' parse error"),
        ("*", "(", "semverFilter '\\(' parse error"),
    ],
)
def test_range_that_means_nothing_is_named(constraint: str, pattern: str, words: str) -> None:
    with pytest.raises(versions.NoMatchError, match=words):
        versions.choose(TAGS, constraint, pattern)
