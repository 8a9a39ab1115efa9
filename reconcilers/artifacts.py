"""Where the content of an artifact is read: here, where this daemon stored it, else where it is.

Artifacts of somebody else (an ExternalArtifact's maker, or Flux's own source-controller while this
daemon leaves the sources to it) are downloaded. An address inside the cluster cannot be reached
from outside; such a one goes through the API server's proxy for Services.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from yarl import URL

from api import meta
from kube import errors
from runtime.errors import TransientError, WaitingError
from sources import web
from sources.auth import tls
from sources.download import DownloadError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from api.artifact import Artifact
    from reconcilers.context import ClusterContext
    from sources.tree import Tree

NOT_READY_S: Final = 30.0
"""Seconds until a missing artifact is looked for again, should nothing wake us before."""
DOWNLOAD_S: Final = 300.0
"""Seconds in which an artifact must have come."""
_SERVICE_LABELS: Final = 3
"""``<name>.<namespace>.svc``, and whatever the cluster's domain is."""


async def open_file(context: ClusterContext, artifact: Artifact) -> Path:
    """Return the file of an artifact, for what is no tree, such as a chart.

    Raises:
        WaitingError: see `open_tree`.
        TransientError: see `open_tree`.
    """
    if await context.threads.run(context.storage.holds, artifact):
        return context.storage.root / artifact.path
    if context.storage.is_own(artifact):
        raise _missing()
    stream = partial(_stream, context, artifact)
    limit = context.settings.artifact_limits.size_bytes
    with _worded(artifact):
        async with asyncio.timeout(DOWNLOAD_S):
            return await context.downloads.file(artifact, stream, limit)


async def open_tree(context: ClusterContext, artifact: Artifact) -> Tree:
    """Return the content of an artifact, checked against its digest.

    Raises:
        WaitingError: the file is gone, or is another by now; its source announces a new one.
        TransientError: somebody else has it, and it cannot be fetched.
    """
    if await context.threads.run(context.storage.holds, artifact):
        return context.storage.open(artifact)
    if context.storage.is_own(artifact):
        raise _missing()
    stream = partial(_stream, context, artifact)
    with _worded(artifact):
        async with asyncio.timeout(DOWNLOAD_S):
            return await context.downloads.open(artifact, stream, context.settings.artifact_limits)


@contextmanager
def _worded(artifact: Artifact) -> Iterator[None]:
    """Turn what a download fails with into its leaf.

    Raises:
        WaitingError: nobody has the artifact any more.
        TransientError: it cannot be fetched.
    """
    try:
        yield
    except DownloadError as err:
        raise _failed(str(err)) from err
    except TimeoutError as err:
        where = web.place(_address(artifact))
        raise _failed(f"failed to download archive from {where}: it takes too long") from err
    except OSError as err:
        raise _failed(f"failed to store archive: {err.strerror or err}") from err
    except errors.NotFound as err:
        raise _missing() from err
    except (errors.ApiError, web.WebError) as err:
        if isinstance(err, web.StatusError) and err.status == 404:
            raise _missing() from err
        where = web.place(_address(artifact))
        raise _failed(f"failed to download archive from {where}: {err}") from err


@asynccontextmanager
async def _stream(
    context: ClusterContext, artifact: Artifact
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open an artifact where it is.

    Raises:
        DownloadError: its address is none.
        WebError: it cannot be had from there.
        ApiError: the API server cannot pass it on.
    """
    limit, url = context.settings.artifact_limits.size_bytes, _address(artifact)
    path = service_path(artifact.url)
    if path is not None:
        async with context.client.stream(path) as chunks:
            yield chunks
        return
    async with (
        web.Web(tls.SYSTEM, None, context.contexts, context.threads) as client,
        client.open("GET", url, {}, limit=limit) as body,
    ):
        yield body.chunks()


def _address(artifact: Artifact) -> URL:
    """Return where an artifact is.

    Raises:
        DownloadError: that is no address.
    """
    try:
        url = URL(artifact.url)
    except ValueError as err:
        raise DownloadError("the artifact's url is no http:// or https:// address") from err
    if url.scheme not in {"http", "https"} or not url.host:
        raise DownloadError("the artifact's url is no http:// or https:// address")
    return url


def service_path(url: str) -> str | None:
    """Return how the API server reaches an address inside its cluster; None for any other.

    Args:
        url: such as ``http://source-watcher.flux-system.svc.cluster.local./a.tar.gz``.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    labels = (parts.hostname or "").split(".")
    if len(labels) < _SERVICE_LABELS or labels[2] != "svc":
        return None
    name, namespace = labels[:2]
    scheme = "https:" if parts.scheme == "https" else ""
    rest = quote(parts.path.lstrip("/"), safe="/%:@+,=~-._")
    return f"/api/v1/namespaces/{namespace}/services/{scheme}{name}:{port}/proxy/{rest}"


def _missing() -> WaitingError:
    return WaitingError(
        meta.ARTIFACT_FAILED,
        "Source is not ready, artifact not found, retrying in 30s",
        requeue_after_s=NOT_READY_S,
    )


def _failed(text: str) -> TransientError:
    return TransientError(meta.ARTIFACT_FAILED, text)
