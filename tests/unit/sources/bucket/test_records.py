"""What is read out of the XML of object stores."""

from __future__ import annotations

import pytest

from sources.bucket import records

LISTING = b"""<?xml version="1.0"?>
<List xmlns="http://s3.example/doc" xmlns:x="urn:x">
  <Name>box</Name><IsTruncated>true</IsTruncated>
  <Contents><Key>a &amp; b</Key><Owner><ID>1</ID></Owner><x:Size>7</x:Size></Contents>
  <Contents><Key Encoded="true">c</Key><ETag/></Contents>
  <Name>other</Name>
</List>"""


def test_records_come_in_order_with_what_is_inside_them_at_any_depth() -> None:
    found, values = records.read(LISTING, "Contents")
    assert [name for name, _ in found] == ["Contents", "Contents"]
    first, second = (each for _, each in found)
    assert {"Key": "a & b", "ID": "1", "Size": "7"}.items() <= first.items()
    assert second == {"Key": "c", "Key@Encoded": "true", "ETag": ""}
    assert values["Name"] == "box"
    assert values["IsTruncated"] == "true"


def test_answer_without_records_has_its_values() -> None:
    assert records.read(b"<Error><Code>X</Code><Region>r</Region></Error>")[1] == {
        "Code": "X",
        "Region": "r",
        "Error": "",
    }


@pytest.mark.parametrize(
    "text", [b"", b"plain", b"<a>", b"<a></b>", b"<a/><b/>", b'<!DOCTYPE a SYSTEM "x"><a/>']
)
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(records.RecordsError, match="not the XML it should be"):
        records.read(text)


def test_answer_that_multiplies_itself_is_refused() -> None:
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "x">{entities}]><a>&e9;</a>'
    with pytest.raises(records.RecordsError, match="document type"):
        records.read(bomb.encode())
