"""The artifact store: layout, verification, retention."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from sources import storage
from tests.support.api import ManualClock
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from pathlib import Path

    from api.artifact import Artifact

OWNER = storage.Owner("GitRepository", "flux-system", "fleet")
FOLDER = "gitrepository/flux-system/fleet"


def store(root: Path, clock: ManualClock | None = None) -> storage.Storage:
    return storage.Storage(root, "source-controller.example:9090", clock or ManualClock())


def put(target: storage.Storage, name: str = "1", owner: storage.Owner = OWNER) -> Artifact:
    return target.put(owner, f"{name}.tar.gz", f"main@sha1:{name}", MemoryTree({"a": name}))


def test_artifact_says_where_and_what_it_is(tmp_path: Path) -> None:
    artifact = put(store(tmp_path))
    path = f"{FOLDER}/1.tar.gz"
    assert artifact.path == path
    assert artifact.url == f"http://source-controller.example:9090/{path}"
    assert artifact.last_update_time == "2026-01-02T00:00:00Z"
    assert artifact.size == (tmp_path / path).stat().st_size


def test_files_are_the_daemons_own(tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    artifact = put(store(root))
    assert (root / artifact.path).stat().st_mode & 0o777 == 0o600
    assert (root / FOLDER).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("base", ["https://host/sub", "https://host/sub/"])
def test_base_url_with_a_scheme_is_used_as_it_is(tmp_path: Path, base: str) -> None:
    assert storage.Storage(tmp_path, base, ManualClock()).url("a/b") == "https://host/sub/a/b"


def test_whole_file_is_verified_also_after_a_start(tmp_path: Path) -> None:
    artifact = put(store(tmp_path))
    store(tmp_path).verify(artifact)


def test_file_is_stored_as_it_is(tmp_path: Path) -> None:
    target, content = store(tmp_path), b"chart" * 1_000_000
    artifact = target.put_file(OWNER, "1.tar.gz", "1.0.0@sha256:1", io.BytesIO(content))
    assert (tmp_path / artifact.path).read_bytes() == content
    assert artifact.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert artifact.size == len(content)
    target.verify(artifact)


def test_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store(tmp_path).put_file(OWNER, "1.tar.gz", "1", Failing())
    assert not list((tmp_path / FOLDER).iterdir())


def test_tree_that_does_not_last_is_read_from_its_file(tmp_path: Path) -> None:
    target = store(tmp_path)
    tree = MemoryTree({"a": "1"})
    artifact = target.put(OWNER, "1.tar.gz", "1", tree, is_lasting=False)
    assert not target.is_attached(artifact)
    assert target.open(artifact).read("a") == b"1"


def test_link_leads_to_the_last_artifact_and_is_never_collected(tmp_path: Path) -> None:
    target = store(tmp_path)
    for name in "12":
        target.link(put(target, name), "latest.tar.gz")
    last = put(target, "3")
    assert target.link(last, "latest.tar.gz") == target.url(f"{FOLDER}/latest.tar.gz")
    assert target.collect(OWNER, last) == 1
    latest = tmp_path / FOLDER / "latest.tar.gz"
    assert latest.read_bytes() == (tmp_path / last.path).read_bytes()
    kept = sorted(path.name for path in latest.parent.iterdir())
    assert kept == ["2.tar.gz", "3.tar.gz", "latest.tar.gz"]


def test_missing_file_is_told(tmp_path: Path) -> None:
    target = store(tmp_path)
    artifact = put(target)
    (tmp_path / artifact.path).unlink()
    with pytest.raises(storage.MissingError):
        target.verify(artifact)
    assert not target.is_attached(artifact)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_changed_file_is_told_and_removed(tmp_path: Path, is_restarted: bool) -> None:
    target = store(tmp_path)
    artifact = put(target)
    (tmp_path / artifact.path).write_bytes(b"tampered")
    with pytest.raises(storage.CorruptError, match="doesn't match"):
        (store(tmp_path) if is_restarted else target).verify(artifact)
    assert not (tmp_path / artifact.path).exists()


def test_artifact_without_a_digest_is_corrupt(tmp_path: Path) -> None:
    artifact = msgspec.structs.replace(put(store(tmp_path)), digest="")
    with pytest.raises(storage.CorruptError):
        store(tmp_path).verify(artifact)


def test_path_that_leaves_the_root_is_a_missing_file(tmp_path: Path) -> None:
    artifact = msgspec.structs.replace(put(store(tmp_path / "root")), path="../secret")
    with pytest.raises(storage.MissingError):
        store(tmp_path / "root").verify(artifact)


class Failing(MemoryTree):
    def read(self, path: str) -> bytes:
        raise OSError("no space left on device")


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = store(tmp_path)
    artifact = put(target)
    with pytest.raises(OSError, match="no space left"):
        target.put(OWNER, "1.tar.gz", "main@sha1:1", Failing({"a": "1"}))
    target.verify(artifact)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["1.tar.gz"]


class Unreadable(MemoryTree):
    """Fails where a file is read that need not be."""

    def read(self, path: str) -> bytes:
        raise AssertionError(path)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_next_artifact_is_copied_from_the_one_before(tmp_path: Path, is_restarted: bool) -> None:
    target = store(tmp_path)
    first = target.put(OWNER, "1.tar.gz", "main@sha1:1", MemoryTree({"a": "1", "b": "2"}))
    if is_restarted:
        target = store(tmp_path)
        target.verify(first)
    second = target.put(
        OWNER, "2.tar.gz", "main@sha1:2", Unreadable({"a": "1", "b": "2"}), previous=first
    )
    assert second.digest == first.digest
    store(tmp_path).verify(second)


@pytest.mark.parametrize("is_copied", [False, True])
def test_content_over_the_limit_is_refused_also_where_it_would_be_copied(
    tmp_path: Path, *, is_copied: bool
) -> None:
    files = {str(n): "x" * 1000 for n in range(100)}
    previous = store(tmp_path).put(OWNER, "1.tar.gz", "main@sha1:1", MemoryTree(files))
    target = storage.Storage(tmp_path, "http://host", ManualClock(), limit_bytes=100_000)
    target.verify(previous)
    again = previous if is_copied else None
    with pytest.raises(OSError, match="the content is larger than"):
        target.put(OWNER, "2.tar.gz", "main@sha1:2", MemoryTree(files), again)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["1.tar.gz"]


@pytest.mark.parametrize("damage", ["changed", "missing", "not verified"])
def test_artifact_that_is_not_known_to_be_whole_is_copied_from_in_no_part(
    tmp_path: Path, damage: str
) -> None:
    target = store(tmp_path)
    first = put(target)
    file = tmp_path / first.path
    match damage:
        case "changed":
            file.write_bytes(file.read_bytes()[:-1] + b"!")
        case "missing":
            file.unlink()
        case _:
            target = store(tmp_path)
    second = target.put(OWNER, "2.tar.gz", "main@sha1:2", MemoryTree({"a": "1"}), previous=first)
    assert second.digest == first.digest
    store(tmp_path).verify(second)


def test_content_comes_from_the_tree_and_after_a_start_from_the_file(tmp_path: Path) -> None:
    target = store(tmp_path)
    artifact = put(target)
    restarted = store(tmp_path)
    assert target.is_attached(artifact)
    assert not restarted.is_attached(artifact)
    assert target.open(artifact).read("a") == restarted.open(artifact).read("a") == b"1"
    assert target.open(artifact).id == restarted.open(artifact).id
    restarted.attach(artifact, MemoryTree({"a": "1"}))
    assert restarted.is_attached(artifact)


def age(tmp_path: Path, artifact: Artifact, clock: ManualClock, seconds: float) -> None:
    moment = clock.now().timestamp() - seconds
    os.utime(tmp_path / artifact.path, (moment, moment))


def test_newest_two_files_stay_for_a_minute(tmp_path: Path) -> None:
    clock = ManualClock()
    target = store(tmp_path, clock)
    artifacts = [put(target, str(number)) for number in range(4)]
    for number, artifact in enumerate(artifacts):
        age(tmp_path, artifact, clock, 30 - number)
    assert target.collect(OWNER, artifacts[-1]) == 2
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"2.tar.gz", "3.tar.gz"}
    clock.move(60)
    assert target.collect(OWNER, artifacts[-1]) == 1
    assert target.collect(OWNER, artifacts[-1]) == 0
    assert not target.is_attached(artifacts[0])
    assert target.is_attached(artifacts[-1])


def test_current_file_stays_however_old_it_is(tmp_path: Path) -> None:
    clock = ManualClock()
    target = store(tmp_path, clock)
    current = put(target, "old")
    age(tmp_path, current, clock, 10_000)
    newer = put(target, "newer")
    age(tmp_path, newer, clock, 5_000)
    assert target.collect(OWNER, current) == 1
    target.verify(current)


def test_leftover_of_a_crash_is_collected(tmp_path: Path) -> None:
    clock = ManualClock()
    target = store(tmp_path, clock)
    current = put(target)
    leftover = tmp_path / FOLDER / ".writing-abc"
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    target.collect(OWNER, current)
    assert not leftover.exists()


def test_removal_takes_one_object_and_no_other(tmp_path: Path) -> None:
    target = store(tmp_path)
    artifact = put(target)
    other = put(target, owner=OWNER._replace(name="fleet-2"))
    target.remove(OWNER)
    target.remove(OWNER)
    assert not target.is_attached(artifact)
    target.verify(other)


def test_owner_whose_name_would_leave_the_root_is_refused() -> None:
    with pytest.raises(ValueError, match="unsafe"):
        _ = storage.Owner("GitRepository", "..", "x").folder
