"""Packs are looked through before they are unpacked: what they hold, and what they only claim."""

from __future__ import annotations

import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import pytest

from devcluster.gitrepo import Repo, git
from sources import gitpack
from sources.gitpack import LimitError, Limits

if TYPE_CHECKING:
    from pathlib import Path

BLOB, OFS_DELTA, REF_DELTA = 3, 6, 7


def number(value: int, first_bits: int = 7) -> bytes:
    """Encode a size as packs do, the first byte having fewer bits for it."""
    parts = bytearray([value & (1 << first_bits) - 1])
    value >>= first_bits
    while value:
        parts[-1] |= 0x80
        parts.append(value & 0x7F)
        value >>= 7
    return bytes(parts)


def item(kind: int, content: bytes, claimed: int | None = None, base: bytes = b"") -> bytes:
    """Return an object as it stands in a pack."""
    head = bytearray(number(len(content) if claimed is None else claimed, 4))
    head[0] |= kind << 4
    return bytes(head) + base + zlib.compress(content)


def pack(path: Path, *items: bytes, count: int | None = None) -> Path:
    head = b"PACK" + (2).to_bytes(4, "big")
    head += (len(items) if count is None else count).to_bytes(4, "big")
    path.write_bytes(head + b"".join(items) + b"\0" * 20)
    return path


def delta(result: int) -> bytes:
    """Return the beginning of a delta against ten bytes, and some instructions."""
    return number(10) + number(result) + b"\x90\x0a" * 30


def test_real_pack_has_what_git_says(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "a.git", tmp_path / "a.work")
    text = "".join(f"line {n}\n" for n in range(5000))
    repo.push({f"{n}.txt": text.replace(f"line {n}\n", "") for n in range(20)} | {"empty": ""})
    repo.push({"big.bin": b"\0" * 300_000, "0.txt": text})
    repo.forget()  # packs, with deltas
    (path,) = repo.bare.glob("objects/pack/*.pack")
    sizes = git(repo.bare, "cat-file", "--batch-all-objects", "--batch-check=%(objectsize)")
    assert gitpack.inspect(path, Limits()) == sum(map(int, sizes.split()))


@pytest.mark.parametrize("base", [b"\x05", b"\x85\x01"])
def test_deltas_count_for_what_becomes_of_them(tmp_path: Path, base: bytes) -> None:
    items = [item(BLOB, b"0123456789"), item(OFS_DELTA, delta(500), base=base)]
    items.append(item(REF_DELTA, delta(3000), base=b"x" * 20))
    assert gitpack.inspect(pack(tmp_path / "p", *items), Limits()) == 10 + 500 + 3000


def test_looking_ends_when_the_answer_cannot_change_any_more(tmp_path: Path) -> None:
    path = pack(tmp_path / "p", item(BLOB, b"x" * 100), b"nonsense", count=2)
    assert gitpack.inspect(path, Limits(), enough=100) == 100


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("items", "count", "text"),
    [
        ([item(BLOB, b"a")], 5, "5 objects were sent, and 4 are allowed"),
        ([item(BLOB, b"\0" * 3 * MIB)], None, "a file of 3 MiB was sent, and 2 MiB are allowed"),
        ([item(OFS_DELTA, delta(9 * MIB), base=b"\1")], None, "a file of 9 MiB was sent"),
        ([item(BLOB, b"\0" * MIB, claimed=10)], None, "an object holds more than it claims"),
    ],
)
def test_pack_over_a_limit_is_refused(
    tmp_path: Path, items: list[bytes], count: int | None, text: str
) -> None:
    limits = Limits(objects=4, file_bytes=2 * MIB)
    with pytest.raises(LimitError, match=text):
        gitpack.inspect(pack(tmp_path / "p", *items, count=count), limits)


@pytest.mark.parametrize(
    "content",
    [
        b"PACK",
        b"x" * 40,
        b"PACK\0\0\0\2\0\0\0\1" + b"\xff" * 40,
        b"PACK\0\0\0\2\0\0\0\2" + item(BLOB, b"a" * 30),
        b"PACK\0\0\0\2\0\0\0\1" + item(BLOB, b"a" * 90)[:-5] + b"",
        b"PACK\0\0\0\2\0\0\0\1" + item(OFS_DELTA, b"\xff" * 3, base=b"\1") + b"\0" * 20,
    ],
)
def test_damaged_pack_is_an_error_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises((ValueError, zlib.error)) as caught:
        gitpack.inspect(tmp_path / "p", Limits())
    assert not isinstance(caught.value, LimitError)


def test_program_says_which_limit_it_met(tmp_path: Path) -> None:
    path = pack(tmp_path / "p", item(BLOB, b"\0" * 3 * MIB))
    ingest = ["ingest", str(tmp_path / "o"), str(path)]
    line = [sys.executable, "-I", gitpack.__file__, f"9,999,{MIB}", *ingest]
    done = subprocess.run(line, capture_output=True, check=False)
    assert done.returncode == gitpack.OVER_LIMIT
    assert done.stderr == b"a file of 3 MiB was sent, and 1 MiB are allowed"
