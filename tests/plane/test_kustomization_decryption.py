"""``spec.decryption`` on a real API server: keys of Secrets and of the daemon, and their change."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from tests.support import encrypting, kustomizer
from tests.support.encrypting import seal
from tests.support.kustomizer import applied, failed, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.kustomizer import World

AGE = encrypting.age_key()
DECRYPTION: dict[str, Any] = {"provider": "sops", "secretRef": {"name": "sops"}}


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running


def contents(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


def secret(namespace: str, value: str = "hunter2", key: encrypting.AgeKey = AGE) -> str:
    text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n"
    return seal(f"{text}  namespace: {namespace}\nstringData:\n  k: {value}\n", key)


async def value(world: World) -> str:
    return base64.b64decode((await world.live("secrets", "s"))["data"]["k"]).decode()


async def test_encrypted_secret_is_applied_and_nothing_of_it_stays_on_disk(
    world: World, namespace: str, tmp_path: Path
) -> None:
    await world.put("Secret", "sops", None, **{"age.agekey": AGE.identity})
    await world.push({"s.yaml": secret(namespace)})
    await world.kustomize("apps", decryption=DECRYPTION)
    await world.until("apps", applied(world.revision))
    assert await value(world) == "hunter2"
    files = contents(tmp_path)
    assert files
    assert not [content for content in files if b"hunter2" in content or b"AGE-SECRET" in content]
    assert not [event for event in world.events if "hunter2" in event.message]

    events = len(world.events)
    await world.request("apps", "again")
    await world.until("apps", kustomizer.handled("again"))
    assert not [event for event in world.events[events:] if "configured" in event.message]


async def test_key_that_comes_later_and_one_that_changes_count_at_once(
    world: World, namespace: str
) -> None:
    other = encrypting.age_key()
    await world.push({"s.yaml": secret(namespace, key=other)})
    await world.kustomize("apps", decryption=DECRYPTION)
    item = await world.until("apps", failed(meta.BUILD_FAILED))
    assert ready(item).message == (
        f"cannot get sops decryption Secret '{namespace}/sops': secrets \"sops\" not found"
    )
    await world.put("Secret", "sops", None, **{"age.agekey": AGE.identity})
    item = await world.until("apps", failed(meta.BUILD_FAILED, "decryption failed"))
    assert "'Secret.v1.[noGrp]/s'" in ready(item).message
    await world.put("Secret", "sops", None, **{"age.agekey": other.identity})
    await world.until("apps", applied(world.revision))
    assert await value(world) == "hunter2"


async def test_hand_edit_of_a_decrypted_secret_is_put_back_from_memory(
    world: World, namespace: str
) -> None:
    await world.put("Secret", "sops", None, **{"age.agekey": AGE.identity})
    await world.push({"s.yaml": secret(namespace)})
    await world.kustomize("apps", decryption=DECRYPTION)
    await world.until("apps", applied(world.revision))
    edit = '{"data": {"k": "ZWRpdGVk"}}'
    world.cluster.kubectl("patch", "secret", "s", "-n", namespace, "--type=merge", "-p", edit)
    await world.until_event("corrected")
    assert await value(world) == "hunter2"


async def test_daemons_key_serves_who_names_no_secret_and_a_named_secret_wins(
    world: World, namespace: str
) -> None:
    world.context.age_key = AGE.identity.encode
    await world.push({"s.yaml": secret(namespace)})
    await world.kustomize("apps", decryption={"provider": "sops"})
    await world.until("apps", applied(world.revision))
    other = encrypting.age_key()
    await world.put("Secret", "sops", None, **{"age.agekey": other.identity})
    await world.patch("apps", {"spec": {"decryption": DECRYPTION}})
    await world.until("apps", failed(meta.BUILD_FAILED, "decryption failed"))
    await world.push({"s.yaml": secret(namespace, "hunter3", other)})
    await world.until("apps", applied(world.revision))
    assert await value(world) == "hunter3"


async def test_daemons_key_that_cannot_be_read_is_told(world: World, namespace: str) -> None:
    def broken() -> bytes:
        raise ValueError("secret file keys.txt: mode 0644 lets others in")

    world.context.age_key = broken
    await world.push({"s.yaml": secret(namespace)})
    await world.kustomize("apps", decryption={"provider": "sops"})
    item = await world.until("apps", failed(meta.BUILD_FAILED))
    assert "mode 0644 lets others in" in ready(item).message
