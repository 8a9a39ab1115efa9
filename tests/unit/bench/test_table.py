"""The benchmark's table and fixtures."""

from __future__ import annotations

import yaml

from bench.fixtures import Fixture
from bench.table import markdown
from bench.trial import Result


def test_table_has_a_group_of_columns_for_each_size() -> None:
    columns = {
        "n=100": [Result("first apply", 0.2, 0.1, 200, limit=0.3)],
        "n=1000": [Result("first apply", 2.0, 0.5, 2000, 3, limit=1.5)],
    }
    lines = markdown("A title", columns).splitlines()
    assert lines[0] == "### A title"
    assert lines[2].count("|") == lines[3].count("|") == lines[4].count("|") == 10
    assert "n=1000 measured" in lines[2]
    assert "| first apply | 0.10 s | 0.20 s | 0.30 s | 200 |" in lines[4]
    assert "| 2.00 s **missed** | 1.50 s | 2000, 3 of them writes |" in lines[4]


def test_what_nobody_promised_or_counted_stays_empty() -> None:
    table = markdown("A title", {"": [Result("memory", 59.6, unit="MiB")]})
    assert table.splitlines()[-1] == "| memory |  | 60 MiB |  |  |"


def test_what_did_not_happen_in_time_is_told_as_a_bound() -> None:
    table = markdown("A title", {"": [Result("hand edit", 20.0, limit=0.3, is_bound=True)]})
    assert "| > 20.00 s **missed** | 0.30 s |" in table


def test_plain_fixture_is_one_file_an_object() -> None:
    fixture = Fixture("there", 3)
    files = fixture.files()
    assert len(files) == 3
    assert [yaml.safe_load(text) for text in files.values()] == fixture.objects()


def test_built_fixture_lists_its_files() -> None:
    fixture = Fixture("there", 2, has_kustomization=True)
    listing = yaml.safe_load(fixture.files()["objects/kustomization.yaml"])
    assert listing["resources"] == ["object-0000.yaml", "object-0001.yaml"]


def test_changed_value_changes_one_manifest() -> None:
    fixture = Fixture("there", 2)
    before = fixture.objects()
    fixture.values["object-0001"] = "second"
    changed = [
        old["metadata"]["name"]
        for old, new in zip(before, fixture.objects(), strict=True)
        if old != new
    ]
    assert changed == ["object-0001"]
