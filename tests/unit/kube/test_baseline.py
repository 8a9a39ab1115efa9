"""The file of digests: disposable, atomic, private."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from kube import baseline
from kube.baseline import Baseline

if TYPE_CHECKING:
    from pathlib import Path

ONE = Baseline("uid-1", b"d" * 16, b"o" * 16)
KEPT = Baseline("uid-2", b"e" * 16, b"")


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "state" / "file"
    baseline.save(file, map(baseline.pack, (ONE, KEPT)))
    loaded = baseline.load(file)
    assert baseline.unpack("uid-1", loaded[baseline.key_of("uid-1")]) == ONE
    assert baseline.unpack("uid-2", loaded[baseline.key_of("uid-2")]) == KEPT
    assert len(loaded) == 2


def test_file_is_its_owners_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for _ in range(2):
        baseline.save(file, [baseline.pack(ONE)])
    assert list(tmp_path.iterdir()) == [file]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_missing_file_is_empty(tmp_path: Path) -> None:
    assert baseline.load(tmp_path / "none") == {}


@pytest.mark.parametrize("damage", ["cut", "flip", "format", "empty", "extra"])
def test_damaged_file_is_the_same_as_none(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "file"
    baseline.save(file, [baseline.pack(ONE)])
    whole = file.read_bytes()
    file.write_bytes(
        {
            "cut": whole[:-1],
            "flip": whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
            "format": b"another" + whole,
            "empty": b"",
            "extra": whole + b"x" * 48,
        }[damage]
    )
    assert baseline.load(file) == {}


def test_failed_save_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    baseline.save(file, [baseline.pack(ONE)])
    with pytest.raises(TypeError):
        baseline.save(file, [(b"k" * 16, None)])  # type: ignore[list-item]  # what fails is no matter
    assert baseline.unpack("uid-1", baseline.load(file)[baseline.key_of("uid-1")]) == ONE
    assert list(tmp_path.iterdir()) == [file]
