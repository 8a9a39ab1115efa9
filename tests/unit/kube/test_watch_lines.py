"""Cutting a watch's bytes into lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kube.watch import LineSplitter


def test_line_is_held_until_it_is_whole() -> None:
    lines = LineSplitter()
    assert lines.feed(b'{"a"') == []
    assert lines.feed(b":1") == []
    assert lines.feed(b'}\n{"b":2}\n{"c"') == [b'{"a":1}', b'{"b":2}']
    assert lines.feed(b":3}\n") == [b'{"c":3}']


def test_line_may_be_larger_than_any_buffer() -> None:
    lines = LineSplitter()
    for _ in range(1000):
        assert lines.feed(b"x" * 65_536) == []
    (line,) = lines.feed(b"\n")
    assert len(line) == 65_536_000


@given(st.lists(st.binary().map(lambda b: b.replace(b"\n", b"")), max_size=8), st.integers(1, 7))
def test_where_pieces_are_cut_does_not_matter(texts: list[bytes], size: int) -> None:
    stream = b"".join(text + b"\n" for text in texts)
    lines = LineSplitter()
    found = []
    for start in range(0, len(stream), size):
        found += lines.feed(stream[start : start + size])
    assert found == [text for text in texts if text]
