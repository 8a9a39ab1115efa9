"""The steps that turn an OCIRepository's reference into an artifact.

A poll of an unchanged tag is one HEAD to the registry and nothing to the API server; one of a
pinned digest is nothing at all. A moved tag costs the manifest, one layer and one status patch.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from api import meta
from api.oci import COPY
from reconcilers.ocirepository import remote, verification
from reconcilers.source import artifacts, links
from runtime.errors import TransientError
from sources.auth.errors import CredentialsError
from sources.oci import manifests, names, versions
from sources.oci.content import LayerTree
from sources.oci.errors import ContentError, RegistryError, ThrottledError
from sources.untar import ArchiveError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from api.artifact import Artifact
    from api.oci import LayerSelector, OCIRepository
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from sources.oci.client import Repository
    from sources.oci.manifests import Descriptor, Manifest

READ_FAILED: Final = "ReadOperationFailed"
PULL_FAILED: Final = "OCIArtifactPullFailed"
LAYER_FAILED: Final = "OCIArtifactLayerOperationFailed"


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference means now."""

    reference: str
    """The tag, or the digest."""
    digest: str

    @property
    def revision(self) -> str:
        """``<tag>@<digest>``, or the digest alone."""
        is_digest = self.reference == self.digest
        return self.digest if is_digest else f"{self.reference}@{self.digest}"

    def of(self, repository: Repository) -> str:
        """Return the full name, with tag or digest."""
        separator = "@" if self.reference == self.digest else ":"
        return f"{repository.name}{separator}{self.reference}"


class _Pulled(NamedTuple):
    manifest: Manifest
    layer: BinaryIO
    """Its content as the registry has it, in a file that is to be closed."""


async def produce(context: ClusterContext, attempt: Attempt[OCIRepository]) -> None:
    """Run the steps: storage, source, signature, artifact. The first that fails ends it.

    Raises:
        GitOpsError: what the status is to say.
    """
    obj = attempt.obj
    await links.check_storage(context, attempt)
    attempt.forget_refusal()
    repository = await remote.repository(context, obj)
    try:
        with context.metrics.fetch(obj.KIND):
            found = await _resolve(context, obj, repository)
            is_current = _is_current(attempt, found)
            if not is_current:
                _announce(attempt, found, found.of(repository))
            await verification.check(context, attempt, repository, found.digest, found.revision)
            pulled = None if is_current else await _pull(context, attempt, repository, found)
    except CredentialsError as err:
        raise remote.unusable(obj, err) from err
    if pulled is None:
        links.tell_unchanged(attempt, found.revision)
        _succeed(attempt, found)
        return
    with closing(pulled.layer):
        artifact = await _store(context, attempt, found, pulled.layer)
    await _record(context, attempt, found, artifact, pulled.manifest)


async def _resolve(context: ClusterContext, obj: OCIRepository, repository: Repository) -> Found:
    """Return what the reference means now: digest before semver before tag.

    Raises:
        TransientError: the registry cannot be asked, or has no such thing.
    """
    ref = obj.spec.ref
    try:
        if ref is not None and ref.digest:
            return Found(ref.digest, names.check_digest(ref.digest))
        tag = await _tag(context, obj, repository)
        found = await context.oci.resolve(repository, names.check_tag(tag))
    except (RegistryError, names.InvalidNameError) as err:
        raise _leaf(err, PULL_FAILED, "failed to determine artifact digest") from err
    return Found(tag, found.digest)


async def _tag(context: ClusterContext, obj: OCIRepository, repository: Repository) -> str:
    ref, selector = obj.spec.ref, obj.spec.layer_selector
    if ref is None or not ref.semver:
        return (ref.tag if ref else "") or names.DEFAULT_TAG
    media_type = selector.media_type if selector else ""
    try:
        tags = await context.oci.tags(repository)
        return await context.threads.run(
            versions.choose, tags, ref.semver, ref.semver_filter, media_type
        )
    except (RegistryError, versions.NoMatchError) as err:
        text = f"failed to determine the artifact tag for '{obj.spec.url}'"
        raise _leaf(err, READ_FAILED, text) from err


def _is_current(attempt: Attempt[OCIRepository], found: Found) -> bool:
    """Say whether the artifact there is was made of this, and in the same way."""
    spec, status = attempt.obj.spec, attempt.obj.status
    return (
        attempt.artifact is not None
        and attempt.artifact.revision == found.revision
        and status.observed_ignore == spec.ignore
        and status.observed_layer_selector == spec.layer_selector
    )


def _announce(attempt: Attempt[OCIRepository], found: Found, reference: str) -> None:
    """Note that the content is going to change, before it is fetched."""
    attempt.is_rebuilding = True
    if attempt.artifact is not None and attempt.artifact.revision == found.revision:
        attempt.show("building artifact")
        return
    text = f"new revision '{found.revision}' for '{reference}'"
    if attempt.artifact is not None:
        attempt.set(meta.ARTIFACT_OUTDATED, "True", artifacts.NEW_REVISION, text)
    attempt.show(f"building artifact: {text}")


async def _pull(
    context: ClusterContext,
    attempt: Attempt[OCIRepository],
    repository: Repository,
    found: Found,
) -> _Pulled:
    """Fetch the manifest and the layer that is wanted.

    Raises:
        TransientError: the registry does not give them, or the disk refused.
    """
    obj, limit = attempt.obj, context.settings.artifact_limits.size_bytes
    try:
        manifest = await context.oci.manifest(repository, found.digest)
        layer = _layer(manifest, obj.spec.layer_selector)
        file = await context.threads.run(_scratch, context.storage.root)
        try:
            await context.oci.download(repository, layer, file, limit)
        except BaseException:
            file.close()
            raise
    except RegistryError as err:
        text = f"failed to pull artifact from '{obj.spec.url}'"
        raise _leaf(err, PULL_FAILED, text) from err
    except OSError as err:
        attempt.condition = meta.STORAGE_OPERATION_FAILED
        raise artifacts.unarchived(err) from err
    return _Pulled(manifest, file)


def _layer(manifest: Manifest, selector: LayerSelector | None) -> Descriptor:
    try:
        return manifest.layer(selector.media_type if selector else "")
    except ContentError as err:
        raise TransientError(LAYER_FAILED, str(err)) from err


async def _store(
    context: ClusterContext, attempt: Attempt[OCIRepository], found: Found, layer: BinaryIO
) -> Artifact:
    """Make the artifact of a layer: unpacked and packed again, or as it is.

    Raises:
        TransientError: the layer is not let in, or the disk refused.
    """
    obj, storage = attempt.obj, context.storage
    owner, filename = artifacts.owner(obj), f"{found.digest}.tar.gz"
    await context.threads.run(layer.seek, 0)
    if _is_copied(obj.spec.layer_selector):
        put = partial(storage.put_file, owner, filename, found.revision, layer)
        return await artifacts.store(context, attempt, put)
    previous = None if _is_copied(obj.status.observed_layer_selector) else attempt.artifact
    try:
        tree = await context.threads.run(
            LayerTree, layer, storage.root, obj.spec.ignore, context.settings.artifact_limits
        )
    except ArchiveError as err:
        text = f"failed to extract layer contents from artifact: {err}"
        raise TransientError(LAYER_FAILED, text) from err
    except OSError as err:
        attempt.condition = meta.STORAGE_OPERATION_FAILED
        raise artifacts.unarchived(err) from err
    try:
        put = partial(
            storage.put,
            owner,
            filename,
            found.revision,
            tree,
            previous,
            is_lasting=False,
        )
        return await artifacts.store(context, attempt, put)
    finally:
        tree.close()


def _is_copied(selector: LayerSelector | None) -> bool:
    return selector is not None and selector.operation == COPY


async def _record(
    context: ClusterContext,
    attempt: Attempt[OCIRepository],
    found: Found,
    artifact: Artifact,
    manifest: Manifest,
) -> None:
    obj = attempt.obj
    attempt.artifact = msgspec.structs.replace(artifact, metadata=manifest.annotations)
    attempt.observed["observed_ignore"] = obj.spec.ignore
    attempt.observed["observed_layer_selector"] = obj.spec.layer_selector
    await links.update(context, attempt)
    _succeed(attempt, found)


def _succeed(attempt: Attempt[OCIRepository], found: Found) -> None:
    told = f"stored artifact with revision '{found.revision}' from '{attempt.obj.spec.url}'"
    known = attempt.artifact.metadata if attempt.artifact else {}
    source = known.get(manifests.SOURCE_ANNOTATION)
    revision = known.get(manifests.REVISION_ANNOTATION)
    if source and revision:
        told += f", origin source '{source}', origin revision '{revision}'"
    stored = f"stored artifact for digest '{found.revision}'"
    artifacts.succeed(attempt, found.revision, told, stored=stored)


def _scratch(folder: Path) -> BinaryIO:
    """Open a file without a name on the disk of the artifacts.

    Raises:
        OSError: the disk refused.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder, buffering=0)


def _leaf(error: Exception, reason: str, text: str) -> TransientError:
    wait_s = error.retry_after_s if isinstance(error, ThrottledError) else None
    return TransientError(reason, f"{text}: {error}", retry_after_s=wait_s)
