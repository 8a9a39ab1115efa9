"""Signatures made without keys, verified by the real cosign against a Sigstore of our own."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devcluster import toolcache
from runtime.limits import Processes
from runtime.metrics import Metrics
from sources.auth.tls import Trust
from sources.oci.client import Repository
from sources.oci.cosign import UnverifiedError
from sources.oci.keyless import Cosign, Identity
from tests.support import blocking, keyless
from tests.support.registry import LOGIN, Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ACME = Identity("^https://token.actions.githubusercontent.com$", "^https://github.com/acme/.*$")
OTHERS = Identity("^https://token.actions.githubusercontent.com$", "^https://github.com/evil/.*$")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry over TLS that wants a login."""
    with Registry(tmp_path_factory.mktemp("registry"), login=True, tls=True) as each:
        yield each


@pytest.fixture(scope="module")
def sigstore() -> keyless.Sigstore:
    return keyless.Sigstore()


@pytest.fixture
def path() -> str:
    return f"test/{uuid.uuid4().hex}"


@asynccontextmanager
async def checking(tmp_path: Path, program: Path | None = None) -> AsyncIterator[Cosign]:
    async with blocking.threads() as threads:
        found = program or toolcache.ensure(toolcache.COSIGN) / "cosign"
        yield Cosign(found, Processes(Metrics()), threads, tmp_path / "sigstore")


def repository(registry: Registry, path: str) -> Repository:
    return Repository(registry.name(path), LOGIN, Trust(registry.ca))


async def test_signer_is_recognised(
    registry: Registry, sigstore: keyless.Sigstore, path: str, tmp_path: Path
) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    sigstore.sign(registry, path, digest)
    root, where = sigstore.trusted_root(), repository(registry, path)
    async with checking(tmp_path) as cosign:
        await cosign.verify(where, digest, [ACME], root)
        await cosign.verify(where, digest, [OTHERS, ACME], root)
        await cosign.verify(where, digest, [], root)
        with pytest.raises(UnverifiedError, match="expected SAN value to match regex"):
            await cosign.verify(where, digest, [OTHERS], root)


async def test_signature_of_another_sigstore_does_not_count(
    registry: Registry, sigstore: keyless.Sigstore, path: str, tmp_path: Path
) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    sigstore.sign(registry, path, digest)
    other = keyless.Sigstore().trusted_root()
    async with checking(tmp_path) as cosign:
        with pytest.raises(UnverifiedError, match="no matching attestations"):
            await cosign.verify(repository(registry, path), digest, [ACME], other)


async def test_unsigned_manifest_and_wrong_login_are_told(
    registry: Registry, sigstore: keyless.Sigstore, path: str, tmp_path: Path
) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    root, where = sigstore.trusted_root(), repository(registry, path)
    async with checking(tmp_path) as cosign:
        with pytest.raises(UnverifiedError, match="no signatures found"):
            await cosign.verify(where, digest, [ACME], root)
        stranger = replace(where, login=replace(LOGIN, password="hunter2"))
        with pytest.raises(UnverifiedError, match=r"(?i)unauthorized") as caught:
            await cosign.verify(stranger, digest, [ACME], root)
    assert "hunter2" not in str(caught.value)


async def test_program_that_is_not_there_is_told(
    registry: Registry, path: str, tmp_path: Path
) -> None:
    async with checking(tmp_path, tmp_path / "cosign") as cosign:
        with pytest.raises(UnverifiedError, match="cosign: No such file"):
            await cosign.verify(repository(registry, path), "sha256:" + "0" * 64, [ACME])


async def test_program_gets_nothing_of_this_user_and_no_secret_in_its_arguments(
    registry: Registry, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "of this user")
    program = tmp_path / "cosign"
    program.write_text(
        f'#!/bin/sh\n{{ echo "$@"; env; cat $DOCKER_CONFIG/config.json; }} > {tmp_path}/seen\n'
        f"ls -ld $HOME >> {tmp_path}/seen\n"
    )
    program.chmod(0o700)
    async with checking(tmp_path, program) as cosign:
        await cosign.verify(repository(registry, path), "sha256:" + "0" * 64, [ACME])
    seen = (tmp_path / "seen").read_text()
    arguments = seen.splitlines()[0]
    assert LOGIN.password not in arguments
    assert LOGIN.basic.removeprefix("Basic ") not in arguments
    assert LOGIN.basic.removeprefix("Basic ") in seen
    assert "of this user" not in seen
    assert "drwx------" in seen
    (home,) = [line[5:] for line in seen.splitlines() if line.startswith("HOME=")]
    assert not await asyncio.to_thread(Path(home).exists)
