from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from cli import logs, main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

RECORD = {
    "ts": "2026-01-02T12:00:00Z",
    "level": "warning",
    "msg": "applied",
    "cluster": "home",
    "kind": "Kustomization",
    "namespace": "flux-system",
    "name": "apps",
    "revision": "main@sha1:1",
}


def asked(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    logs.configure(parser)
    return parser.parse_args(argv)


def shown(*argv: str, **fields: str) -> str | None:
    return logs.render(json.dumps(RECORD | fields), asked(*argv))


def test_record_is_one_line_with_its_object() -> None:
    assert shown() == (
        "2026-01-02T12:00:00Z warning home Kustomization/flux-system/apps applied "
        "revision=main@sha1:1"
    )


def test_records_are_chosen_by_level_and_object() -> None:
    assert shown("--level", "error") is None
    assert shown("--level", "warning") is not None
    assert shown("--kind", "kustomization", "--name", "apps") is not None
    assert shown("--name", "other") is None
    assert shown("-n", "default") is None
    assert shown("--cluster", "work") is None


def test_line_that_is_no_record_is_shown_only_where_nothing_is_chosen() -> None:
    assert logs.render("Traceback\n", asked()) == "Traceback"
    assert logs.render("Traceback\n", asked("--name", "apps")) is None


def test_file_is_read_in_place_of_the_services(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gitopsd.log"
    file.write_text("".join(f"{json.dumps(RECORD | {'name': f'a{n}'})}\n" for n in range(9)))

    assert main.main(["logs", "--file", str(file), "--tail", "2"]) == 0
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines()] == [
        "Kustomization/flux-system/a7",
        "Kustomization/flux-system/a8",
    ]
    assert main.main(["logs", "--file", str(tmp_path / "none")]) == 1
