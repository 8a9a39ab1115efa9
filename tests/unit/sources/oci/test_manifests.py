"""Manifests and indexes as registries hold them."""

from __future__ import annotations

import pytest

from sources.oci import manifests
from sources.oci.errors import ContentError
from sources.oci.manifests import Descriptor, Index, Manifest, Platform

CHART = Descriptor(manifests.HELM_CHART, "sha256:2", 2)
OTHER = Descriptor("application/x", "sha256:1", 1)


def test_layer_is_the_first_or_the_first_of_a_media_type() -> None:
    manifest = Manifest(layers=(OTHER, CHART, Descriptor(manifests.HELM_CHART, "sha256:3", 3)))
    assert manifest.layer() == OTHER
    assert manifest.layer(manifests.HELM_CHART) == CHART


def test_layer_that_is_not_there_is_named() -> None:
    with pytest.raises(ContentError, match="no layers found in artifact"):
        Manifest().layer()
    with pytest.raises(ContentError, match="failed to find layer with media type 'text/x'"):
        Manifest(layers=(OTHER,)).layer("text/x")


def test_index_stands_for_linux_on_amd64_or_for_what_says_nothing() -> None:
    arm = Descriptor(digest="sha256:1", platform=Platform("linux", "arm64"))
    amd = Descriptor(digest="sha256:2", platform=Platform("linux", "amd64"))
    plain = Descriptor(digest="sha256:3")
    assert Index((arm, amd, plain)).default() == amd
    assert Index((arm, plain)).default() == plain
    with pytest.raises(ContentError, match="no child with platform linux/amd64"):
        Index((arm,)).default()


@pytest.mark.parametrize(
    ("content", "media_type", "kind"),
    [
        (b'{"mediaType": "%b"}' % manifests.OCI_MANIFEST.encode(), "", Manifest),
        (b'{"mediaType": "%b"}' % manifests.DOCKER_INDEX.encode(), "", Index),
        (b"{}", manifests.OCI_INDEX, Index),
        (b"{}", manifests.DOCKER_MANIFEST, Manifest),
        (b'{"manifests": []}', "", Index),
        (b'{"layers": [], "annotations": {"a": "b"}}', "application/json", Manifest),
    ],
)
def test_kind_is_told_by_the_media_type_else_by_the_content(
    content: bytes, media_type: str, kind: type
) -> None:
    assert isinstance(manifests.decode(content, media_type), kind)
