"""Manifests and indexes of the OCI image specification, and what Docker's older ones share."""

from __future__ import annotations

from typing import Final

import msgspec

from sources.oci.errors import ContentError

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED: Final = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
"""Media types that a registry may answer with."""
FLUX_CONFIG: Final = "application/vnd.cncf.flux.config.v1+json"
FLUX_CONTENT: Final = "application/vnd.cncf.flux.content.v1.tar+gzip"
HELM_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
HELM_PROVENANCE: Final = "application/vnd.cncf.helm.chart.provenance.v1.prov"
SOURCE_ANNOTATION: Final = "org.opencontainers.image.source"
REVISION_ANNOTATION: Final = "org.opencontainers.image.revision"
_PLATFORM: Final = ("linux", "amd64")


class Platform(msgspec.Struct, frozen=True, rename="camel"):
    """The machine that an image is for; what says nothing is for the default one."""

    os: str = "linux"
    architecture: str = "amd64"


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """Some content in a registry: what it is, its digest, its length."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    """Bytes; 0 where a registry did not tell."""
    annotations: dict[str, str] = {}
    artifact_type: str = ""
    platform: Platform | None = None


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """An image or an artifact: a config and layers."""

    media_type: str = ""
    config: Descriptor = Descriptor()
    layers: tuple[Descriptor, ...] = ()
    annotations: dict[str, str] = {}
    artifact_type: str = ""
    subject: Descriptor | None = None

    def layer(self, media_type: str = "") -> Descriptor:
        """Return the first layer, or the first of a media type.

        Raises:
            ContentError: there is none.
        """
        if not self.layers:
            raise ContentError("no layers found in artifact")
        if not media_type:
            return self.layers[0]
        for each in self.layers:
            if each.media_type == media_type:
                return each
        raise ContentError(f"failed to find layer with media type '{media_type}' in artifact")


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """Several manifests under one name: an image for several platforms, or referrers."""

    manifests: tuple[Descriptor, ...] = ()
    annotations: dict[str, str] = {}

    def default(self) -> Descriptor:
        """Return the manifest for linux/amd64, which Flux takes, one without platform included.

        Raises:
            ContentError: there is none.
        """
        for each in self.manifests:
            platform = each.platform or Platform()
            if (platform.os, platform.architecture) == _PLATFORM:
                return each
        raise ContentError("no child with platform linux/amd64 in index")


class _Kind(msgspec.Struct, rename="camel"):
    media_type: str = ""
    manifests: tuple[msgspec.Raw, ...] | None = None


def decode(content: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index.

    Args:
        content: as the registry sent it.
        media_type: as the registry named it; the content's own name wins.

    Raises:
        ContentError: it is neither.
    """
    try:
        kind = msgspec.json.decode(content, type=_Kind)
        name = kind.media_type or media_type
        is_index = name in {OCI_INDEX, DOCKER_INDEX} or kind.manifests is not None
        if is_index:
            return msgspec.json.decode(content, type=Index)
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as err:
        raise ContentError(f"failed to parse artifact manifest: {err}") from err
