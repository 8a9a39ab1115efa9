"""Signatures that were made with a key, in a real registry."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519

from sources.oci import cosign
from sources.oci.client import Repository
from tests.support import cosigning
from tests.support.oci import asking
from tests.support.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.cosigning import PrivateKey

SECRET = "apps/keys"
OTHER = "sha256:" + "0" * 64

LAYOUTS = pytest.mark.parametrize("sign", [cosigning.sign_simply, cosigning.sign_as_bundle])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as each:
        yield each


@pytest.fixture
def path() -> str:
    return f"test/{uuid.uuid4().hex}"


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


async def verify(registry: Registry, path: str, digest: str, *public: bytes) -> None:
    data = {f"{number}.pub": each for number, each in enumerate(public)}
    async with asking() as ask:
        trusted = await ask.threads.run(cosign.keys, data, SECRET)
        await cosign.verify(
            ask.registries, ask.threads, Repository(registry.name(path)), digest, trusted
        )


@pytest.mark.parametrize("layout", ["simple", "bundle"])
async def test_what_cosign_itself_signed_is_verified(
    registry: Registry, path: str, layout: str
) -> None:
    recorded = cosigning.Recorded()
    recorded.push(registry, path, layout)
    await verify(registry, path, recorded.digest, recorded.key)


@pytest.mark.parametrize("layout", ["simple", "bundle"])
async def test_what_cosign_signed_is_not_taken_for_anothers(
    registry: Registry, path: str, layout: str
) -> None:
    recorded = cosigning.Recorded()
    recorded.push(registry, path, layout)
    with pytest.raises(cosign.UnverifiedError, match="no matching signatures were found"):
        await verify(registry, path, recorded.digest, cosigning.public(p256()))


@LAYOUTS
@pytest.mark.parametrize(
    "make",
    [
        p256,
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
    ids=["P-256", "P-384", "RSA", "Ed25519"],
)
async def test_keys_of_every_kind(
    registry: Registry, path: str, sign: Callable[..., None], make: Callable[[], PrivateKey]
) -> None:
    key = make()
    digest = registry.push(path, "latest", {"a": "1"})
    sign(registry, path, digest, key)
    await verify(registry, path, digest, cosigning.public(key))


@LAYOUTS
async def test_one_of_several_keys_is_enough(
    registry: Registry, path: str, sign: Callable[..., None]
) -> None:
    key = p256()
    digest = registry.push(path, "latest", {"a": "1"})
    sign(registry, path, digest, key)
    await verify(registry, path, digest, cosigning.public(p256()), cosigning.public(key))


@LAYOUTS
async def test_signature_of_another_manifest_does_not_count(
    registry: Registry, path: str, sign: Callable[..., None]
) -> None:
    key = p256()
    digest = registry.push(path, "latest", {"a": "1"})
    sign(registry, path, digest, key, OTHER)
    with pytest.raises(cosign.UnverifiedError, match="no matching signatures"):
        await verify(registry, path, digest, cosigning.public(key))


async def test_signature_in_the_older_layout_counts_beside_a_strange_bundle(
    registry: Registry, path: str
) -> None:
    key = p256()
    digest = registry.push(path, "latest", {"a": "1"})
    cosigning.sign_as_bundle(registry, path, digest, p256())
    cosigning.sign_simply(registry, path, digest, key)
    await verify(registry, path, digest, cosigning.public(key))


async def test_manifest_without_signature_is_not_verified(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    with pytest.raises(cosign.UnverifiedError) as caught:
        await verify(registry, path, digest, cosigning.public(p256()))
    name = f"{registry.host}/{path}@{digest}"
    assert str(caught.value) == f"no matching signatures were found for '{name}'"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "has no public key"),
        ({"cosign.key": cosigning.public(p256())}, "has no public key"),
        ({"cosign.pub": b"hunter2"}, "'cosign.pub' is no public key in PEM"),
        (
            {"cosign.pub": cosigning.public(x25519.X25519PrivateKey.generate())},  # type: ignore[arg-type]
            "of a kind that cosign does not use",
        ),
    ],
)
def test_secret_without_a_usable_key_is_named(data: dict[str, bytes], words: str) -> None:
    with pytest.raises(cosign.UnverifiedError, match=words) as caught:
        cosign.keys(data, SECRET)
    assert SECRET in str(caught.value)
    assert "hunter2" not in str(caught.value)
