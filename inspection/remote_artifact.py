"""Fetches a text file out of an OCI artifact: ``oci://registry/repository:tag@digest#path``."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from inspection import failure
from sources import untar
from sources.oci import client, errors, names

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.limits import Threads
    from sources.oci.names import Name

SCHEME: Final = names.SCHEME
_MOST_BYTES: Final = 1 << 20
"""Of the file."""
_LAYER_BYTES: Final = 50 << 20
_LIMITS: Final = untar.Limits(size_bytes=200 << 20, files=20_000)


class Address(NamedTuple):
    """Where a file is."""

    name: Name
    reference: str
    """A tag, or a digest, which wins."""
    path: str
    """Of the file in the artifact's first layer."""


def parse(url: str) -> Address:
    """Read an address.

    Raises:
        failure.UsageError: it names no repository or no file.
    """
    parts = urlsplit(url)
    path = parts.fragment.strip("/")
    if not path:
        raise failure.UsageError(f"{url}: name the file too: oci://registry/repository:tag#path")
    repository, _, digest = f"{parts.netloc}{parts.path}".partition("@")
    head, slash, last = repository.rpartition("/")
    last, _, tag = last.partition(":")
    try:
        name = names.parse(f"{head}{slash}{last}")
        reference = names.check_digest(digest) if digest else ""
        tag = names.check_tag(tag) if tag else names.DEFAULT_TAG
    except names.InvalidNameError as err:
        raise failure.UsageError(f"{url}: {err}") from err
    return Address(name, reference or tag, path)


async def fetch(url: str, threads: Threads, clock: Clock) -> str:
    """Return the text of a file, without credentials; in clear from registries nearby alone.

    Raises:
        failure.UsageError: the address is none.
        failure.CommandError: it cannot be fetched, or is no small text.
    """
    address = parse(url)
    repository = client.Repository(address.name, insecure=address.name.is_near)
    registries = client.Registries(threads, clock)
    try:
        found = await registries.resolve(repository, address.reference)
        manifest = await registries.manifest(repository, found.digest)
        layer = await registries.read(repository, manifest.layer(), _LAYER_BYTES)
        content = await threads.run(_file, layer, address.path)
        return content.decode()
    except errors.RegistryError as err:
        raise failure.CommandError(f"{url} cannot be fetched: {err}") from err
    except (untar.ArchiveError, OSError) as err:
        raise failure.CommandError(f"{url}: the artifact's first layer: {err}") from err
    except UnicodeDecodeError as err:
        raise failure.CommandError(f"{url}: {address.path} is not text") from err
    finally:
        await registries.aclose()


def _file(layer: bytes, path: str) -> bytes:
    """Return a file of a layer. Blocking.

    Raises:
        failure.CommandError: there is no such file, or it is large.
        ArchiveError: the layer is none.
    """
    for member in untar.members(io.BytesIO(layer), _LIMITS):
        if member.kind is not untar.Kind.FILE or member.name.removeprefix("./") != path:
            continue
        if member.size > _MOST_BYTES:
            raise failure.CommandError(f"{path} is larger than {_MOST_BYTES >> 20} MiB")
        return b"".join(member.content())
    raise failure.CommandError(f"the artifact has no file {path}")
