"""The steps that turn the objects of a bucket into an artifact.

A poll of an unchanged bucket is one listing, and none of its objects is fetched; after a change
those are whose ETag is new.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from api import durations, meta
from reconcilers.bucket import remote
from reconcilers.source import artifacts, links, secrets
from runtime.errors import TransientError
from sources import ignore
from sources.auth.errors import CredentialsError
from sources.bucket import fetch, listing
from sources.bucket.listing import BucketError, ListingError, MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from api.artifact import Artifact
    from api.bucket import Bucket
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from sources.bucket.fetch import Fetched
    from sources.bucket.listing import Bucket as Store
    from sources.bucket.listing import Index

FAILED: Final = "BucketOperationFailed"
DEFAULT_TIMEOUT_S: Final = 60.0

logger = logging.getLogger(__name__)


async def produce(context: ClusterContext, attempt: Attempt[Bucket]) -> None:
    """Run the steps: storage, source, artifact. The first that fails ends it.

    Raises:
        GitOpsError: what the status is to say.
    """
    obj = attempt.obj
    await links.check_storage(context, attempt)
    async with remote.store(context, obj) as store:
        with context.metrics.fetch(obj.KIND):
            index = await _list(context, obj, store)
            revision = listing.revision({key: each.etag for key, each in index.items()})
            if attempt.artifact is not None and attempt.artifact.revision == revision:
                _keep(attempt, len(index))
                return
            artifacts.announce(attempt, revision)
            fetched = await _fetch(context, attempt, store, index)
    await _store(context, attempt, fetched)


async def _list(context: ClusterContext, obj: Bucket, store: Store) -> Index:
    """Return the objects that are kept.

    Raises:
        TransientError: the bucket cannot be listed.
    """
    spec, limits = obj.spec, context.settings.artifact_limits
    with _worded(obj, f"failed to confirm existence of '{spec.bucket_name}' bucket: "):
        async with asyncio.timeout(_timeout_s(obj)):
            found = await listing.listed(store, spec.prefix, limits.files)
            text = ""
            if spec.prefix or ignore.FILE_NAME in found:
                text = await fetch.ignore_file(store, ignore.FILE_NAME)
            return await context.threads.run(listing.kept, found, text, spec.ignore)


async def _fetch(
    context: ClusterContext, attempt: Attempt[Bucket], store: Store, index: Index
) -> Fetched:
    """Return the content of the objects.

    Raises:
        TransientError: it cannot be fetched, or not be kept.
    """
    obj = attempt.obj
    known = fetch.Known()
    if attempt.artifact is not None:
        file = _memory(context, obj)
        etags = await context.threads.run(fetch.recall, file, attempt.artifact.revision)
        known = fetch.Known(etags, context.storage.open(attempt.artifact) if etags else None)
    await context.threads.run(partial(context.data_dir.mkdir, parents=True, exist_ok=True))
    try:
        with _worded(obj, f"fetch from bucket '{obj.spec.bucket_name}' failed: "):
            async with asyncio.timeout(_timeout_s(obj)):
                spool = await context.threads.run(
                    fetch.Spool, context.data_dir, context.settings.artifact_limits.size_bytes
                )
                return await fetch.fetch(store, index, known, spool, context.threads)
    except OSError as err:
        attempt.condition = meta.STORAGE_OPERATION_FAILED
        raise artifacts.unarchived(err) from err


@contextmanager
def _worded(obj: Bucket, prefix: str) -> Iterator[None]:
    """Turn what a store refuses into the words of Flux.

    Raises:
        TransientError: in place of it.
    """
    try:
        yield
    except MissingError as err:
        raise TransientError(FAILED, f"bucket '{obj.spec.bucket_name}' not found") from err
    except ListingError as err:
        where = f"indexation of objects from bucket '{obj.spec.bucket_name}' failed: "
        raise TransientError(FAILED, f"{where}{err}") from err
    except BucketError as err:
        raise TransientError(FAILED, f"{prefix}{err}") from err
    except TimeoutError as err:
        raise TransientError(FAILED, f"{prefix}not done within {obj.spec.timeout}") from err
    except CredentialsError as err:
        raise secrets.unusable(err) from err


async def _store(context: ClusterContext, attempt: Attempt[Bucket], fetched: Fetched) -> None:
    """Turn the objects into an artifact.

    Raises:
        TransientError: the disk refused.
    """
    obj, before = attempt.obj, attempt.artifact
    revision = listing.revision(fetched.etags)
    if before is not None and before.revision == revision:
        _keep(attempt, len(fetched.etags))
        return
    name = f"{revision.partition(':')[2]}.tar.gz"
    put = partial(
        context.storage.put,
        artifacts.owner(obj),
        name,
        revision,
        fetched.tree,
        previous=before,
        is_lasting=False,
    )
    artifact = await artifacts.store(context, attempt, put)
    attempt.artifact = artifact
    attempt.observed |= {"observed_ignore": obj.spec.ignore}
    await links.update(context, attempt)
    try:
        await context.threads.run(fetch.remember, _memory(context, obj), fetched.etags)
    except OSError as err:
        logger.warning("cannot remember what was fetched", extra={"error": str(err)})
    _succeed(attempt, artifact, len(fetched.etags))


def _keep(attempt: Attempt[Bucket], count: int) -> None:
    """Go on with the artifact there is."""
    artifact = attempt.artifact
    if artifact is None:
        raise AssertionError("only an artifact can be kept")
    links.tell_unchanged(attempt, artifact.revision)
    _succeed(attempt, artifact, count)


def _succeed(attempt: Attempt[Bucket], artifact: Artifact, count: int) -> None:
    bucket = attempt.obj.spec.bucket_name
    artifacts.succeed(
        attempt,
        artifact.revision,
        f"stored artifact with {count} fetched files from '{bucket}' bucket",
        stored=f"stored artifact: revision '{artifact.revision}'",
    )


def forget(context: ClusterContext, obj: Bucket) -> None:
    """Remove what is remembered of an object's artifact. Blocks."""
    _memory(context, obj).unlink(missing_ok=True)


def _timeout_s(obj: Bucket) -> float:
    return durations.parse_or(obj.spec.timeout, DEFAULT_TIMEOUT_S)


def _memory(context: ClusterContext, obj: Bucket) -> Path:
    """Return where the ETags of an object's artifact are kept."""
    return context.data_dir / "buckets" / obj.metadata.namespace / obj.metadata.name
