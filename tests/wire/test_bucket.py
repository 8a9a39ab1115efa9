"""Buckets of a real S3-compatible server that verifies signatures."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from runtime.clock import SystemClock
from sources.auth import tls
from sources.auth.proxy import Proxy
from sources.bucket import fetch, listing
from sources.bucket.listing import BucketError, ListingError, MissingError
from sources.bucket.s3 import S3
from sources.web import Web
from tests.support import blocking, forwarder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runtime.limits import Threads
    from sources.bucket.sigv4 import Keys
    from tests.support import s3
    from tests.support.forwarder import Forwarder

ODD = ["a b.txt", "ä/ö+ü.yaml", "x=1&y?z#.txt", "100%.txt", "日本/語", "~'()*!,;:@$"]


class Store:
    """A bucket as the daemon reads it, through a proxy that counts."""

    def __init__(self, s3: S3, through: Forwarder, scratch: Path, threads: Threads) -> None:
        self.s3, self.through, self.scratch, self.threads = s3, through, scratch, threads

    async def load(
        self, known: fetch.Known | None = None, prefix: str = "", patterns: str | None = None
    ) -> fetch.Fetched:
        """Do what a run does: list, filter, fetch."""
        found = await listing.listed(self.s3, prefix, 1000)
        text = await fetch.ignore_file(self.s3, ".sourceignore")
        wanted = listing.kept(found, text, patterns)
        known = known or fetch.Known()
        return await self.fetched(wanted, known)

    async def fetched(self, wanted: listing.Index, known: fetch.Known) -> fetch.Fetched:
        """Fetch what was listed."""
        spool = await self.threads.run(fetch.Spool, self.scratch, 10**8)
        return await fetch.fetch(self.s3, wanted, known, spool, self.threads)

    async def files(self, **options: str) -> dict[str, str]:
        tree = (await self.load(**options)).tree  # type: ignore[arg-type]
        return {entry.path: tree.read(entry.path).decode() for entry in tree.entries()}

    def downloads(self) -> list[str]:
        """Return the last part of the path of each object that was asked for."""
        paths = [each.partition(" ")[2].partition("?") for each in self.through.requests]
        return sorted(path.rpartition("/")[2] for path, mark, _ in paths if not mark)


@asynccontextmanager
async def opened(
    box: s3.BucketBox, tmp_path: Path, keys: Keys | None = None, *, page: int = 1000
) -> AsyncIterator[Store]:
    async with blocking.threads() as threads, forwarder.running() as through:
        proxy = Proxy(through.address)
        async with Web(tls.SYSTEM, proxy, tls.Contexts(), threads) as web:
            s3 = S3(web, box.place, keys or box.server.keys, SystemClock(), page=page)
            yield Store(s3, through, tmp_path, threads)


@pytest.fixture
def box(s3_server: s3.Server) -> s3.BucketBox:
    return s3_server.bucket()


async def test_objects_come_with_their_keys_whatever_is_in_them(
    box: s3.BucketBox, tmp_path: Path
) -> None:
    box.fill({key: f"content of {key}" for key in ODD})
    async with opened(box, tmp_path) as store:
        assert await store.files() == {key: f"content of {key}" for key in ODD}


async def test_listing_of_several_pages_is_whole(box: s3.BucketBox, tmp_path: Path) -> None:
    box.fill({f"{number:02}": "x" for number in range(11)})
    async with opened(box, tmp_path, page=3) as store:
        assert len(await listing.listed(store.s3, "", 1000)) == 11
        assert len(store.through.requests) == 4


async def test_prefix_is_of_the_key_and_stays_in_the_path(
    box: s3.BucketBox, tmp_path: Path
) -> None:
    box.fill({"apps/a": "1", "apps-old/b": "2", "base/c": "3"})
    async with opened(box, tmp_path) as store:
        assert await store.files(prefix="apps/") == {"apps/a": "1"}


async def test_revision_is_the_digest_of_keys_and_etags_in_order(
    box: s3.BucketBox, tmp_path: Path
) -> None:
    box.fill({"b": "2", "a/é": "1", "a/z": "3"})
    lines = "".join(
        f"{key} {hashlib.md5(text.encode()).hexdigest()}\n"
        for key, text in [("a/z", "3"), ("a/é", "1"), ("b", "2")]
    )
    async with opened(box, tmp_path) as store:
        etags = (await store.load()).etags
    assert listing.revision(etags) == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


async def test_folders_and_the_ignore_file_are_no_files(box: s3.BucketBox, tmp_path: Path) -> None:
    box.fill({"a/": "", "a/b": "1", ".sourceignore": "*.md\n", "readme.md": "", "a/x.jpg": "2"})
    async with opened(box, tmp_path) as store:
        assert await store.files() == {"a/b": "1", "a/x.jpg": "2"}
        assert await store.files(patterns="!readme.md\n*.jpg") == {"a/b": "1", "readme.md": ""}


async def test_only_what_changed_is_downloaded(box: s3.BucketBox, tmp_path: Path) -> None:
    box.fill({"a": "1", "b": "2", "c": "3"})
    async with opened(box, tmp_path) as store:
        first = await store.load()
        box.fill({"b": "22", "d": "4"})
        box.delete("c")
        store.through.requests.clear()
        second = await store.load(fetch.Known(first.etags, first.tree))
        assert store.downloads() == [".sourceignore", "b", "d"]
        files = {each.path: second.tree.read(each.path) for each in second.tree.entries()}
        assert files == {"a": b"1", "b": b"22", "d": b"4"}
        assert second.downloaded == 2


async def test_large_object_is_whole(box: s3.BucketBox, tmp_path: Path) -> None:
    body = hashlib.shake_256(b"large").digest(3_000_001)
    box.put("large", body)
    async with opened(box, tmp_path) as store:
        assert (await store.load()).tree.read("large") == body


async def test_object_that_vanishes_after_the_listing_is_left_out(
    box: s3.BucketBox, tmp_path: Path
) -> None:
    box.fill({"a": "1", "b": "2"})
    async with opened(box, tmp_path) as store:
        wanted = await listing.listed(store.s3, "", 1000)
        box.delete("b")
        got = await store.fetched(wanted, fetch.Known())
        assert list(got.etags) == [entry.path for entry in got.tree.entries()] == ["a"]


async def test_object_that_changes_after_the_listing_has_its_new_etag(
    box: s3.BucketBox, tmp_path: Path
) -> None:
    box.fill({"a": "1"})
    async with opened(box, tmp_path) as store:
        wanted = await listing.listed(store.s3, "", 1000)
        box.fill({"a": "11"})
        got = await store.fetched(wanted, fetch.Known())
        assert got.etags == {"a": hashlib.md5(b"11").hexdigest()}
        assert got.tree.read("a") == b"11"


async def test_wrong_secret_key_is_told_in_the_words_of_the_store(
    box: s3.BucketBox, tmp_path: Path
) -> None:
    async with opened(box, tmp_path, replace(box.server.keys, secret_key="wrong")) as store:
        with pytest.raises(BucketError, match=r"signature.*\(SignatureDoesNotMatch\)$"):
            await listing.listed(store.s3, "", 1000)


async def test_unknown_access_key_is_told_in_the_words_of_the_store(
    box: s3.BucketBox, tmp_path: Path
) -> None:
    async with opened(box, tmp_path, replace(box.server.keys, access_key="AKIANOBODY")) as store:
        with pytest.raises(BucketError, match=r"\(InvalidAccessKeyId\)$"):
            await listing.listed(store.s3, "", 1000)


async def test_bucket_that_is_not_there_is_missing(box: s3.BucketBox, tmp_path: Path) -> None:
    async with opened(replace(box, name="not-there"), tmp_path) as store:
        with pytest.raises(MissingError):
            await listing.listed(store.s3, "", 1000)


async def test_nobody_signs_nothing(box: s3.BucketBox, tmp_path: Path) -> None:
    box.fill({"a": "1"})
    with box.server.open_to_all():
        async with (
            blocking.threads() as threads,
            forwarder.running() as through,
            Web(tls.SYSTEM, Proxy(through.address), tls.Contexts(), threads) as web,
        ):
            assert list(await listing.listed(S3(web, box.place, None, SystemClock()), "", 9)) == [
                "a"
            ]
            assert "authorization" not in through.heads[0].lower()


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (["../up"], "'../up' is no path inside an artifact"),
        (["a/../../b"], "'a/../../b' is no path inside an artifact"),
        (["n" * 256], "has a longer name than a file may have"),
        (["a/b", "a//b"], "objects 'a//b' and 'a/b' are one file"),
        (["a", "a/b"], "object 'a' is a file, and 'a/b' lies below it"),
    ],
)
async def test_key_that_can_be_no_file_is_named(
    box: s3.BucketBox, tmp_path: Path, keys: list[str], text: str
) -> None:
    box.fill(dict.fromkeys(keys, "x"))
    async with opened(box, tmp_path) as store:
        with pytest.raises(ListingError) as caught:
            await store.load()
    assert text in str(caught.value)


async def test_key_that_can_be_no_file_may_be_ignored(box: s3.BucketBox, tmp_path: Path) -> None:
    box.fill({"../up": "x", "a": "1"})
    async with opened(box, tmp_path) as store:
        assert await store.files(patterns="up") == {"a": "1"}


async def test_absolute_key_lands_inside(box: s3.BucketBox, tmp_path: Path) -> None:
    box.fill({"/etc/passwd": "x", "./a//b": "1"})
    async with opened(box, tmp_path) as store:
        assert await store.files() == {"etc/passwd": "x", "a/b": "1"}


@pytest.mark.parametrize("key", ["a\0b", "a\nb", "..", "a/.."])
def test_key_that_no_path_can_have_is_refused(key: str) -> None:
    with pytest.raises(ListingError, match="is no path inside an artifact"):
        listing.paths([key])


def test_etags_are_remembered_for_their_revision_alone(tmp_path: Path) -> None:
    file, etags = tmp_path / "ns" / "name", {"a b": "1", "c": "2"}
    fetch.remember(file, etags)
    assert fetch.recall(file, listing.revision(etags)) == etags
    assert fetch.recall(file, listing.revision({"a b": "1"})) == {}
    file.write_text("{")
    assert fetch.recall(file, listing.revision(etags)) == {}
    assert [each.name for each in file.parent.iterdir()] == ["name"]
