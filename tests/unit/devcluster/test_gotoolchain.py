"""Go comes from PATH where it is new enough, and its progress is shown."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devcluster import gotoolchain
from devcluster.errors import BuildError
from devcluster.progress import Progress

if TYPE_CHECKING:
    from tests.unit.devcluster.conftest import FakeGo


def test_go_on_path_serves_when_it_is_new_enough(fake_go: FakeGo, tmp_path: Path) -> None:
    fake_go(version="go1.27.0")
    assert gotoolchain.find(tmp_path / "go") == tmp_path / "bin" / "go"


def test_older_go_gives_way_to_the_installed_wheel(fake_go: FakeGo, tmp_path: Path) -> None:
    fake_go(version="go1.22.2")
    home = tmp_path / "go" / gotoolchain.WHEEL.replace("==", "-")
    wheel = home / "go" / "bin" / "go"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    assert gotoolchain.find(tmp_path / "go") == wheel


def test_wheel_without_a_toolchain_says_what_to_do(fake_go: FakeGo, tmp_path: Path) -> None:
    fake_go(version="go1.22.2")
    (tmp_path / "go" / gotoolchain.WHEEL.replace("==", "-")).mkdir(parents=True)
    with pytest.raises(BuildError, match="remove that folder"):
        gotoolchain.find(tmp_path / "go")


def test_run_returns_the_status_and_the_last_lines(fake_go: FakeGo, tmp_path: Path) -> None:
    fake_go(ending="echo oops >&2; exit 3")
    go = Path(shutil.which("go") or "")
    result = gotoolchain.run(go, ["build"], tmp_path, Progress("building", io.StringIO()))
    assert result.status == 3
    assert result.tail.splitlines()[-1] == "oops"


def test_run_honours_the_users_settings_and_pins_what_must_hold(
    fake_go: FakeGo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "https://proxy.example.com")
    fake_go(ending='echo "$GOPROXY $GOTOOLCHAIN $CGO_ENABLED" >&2; exit 1')
    go = Path(shutil.which("go") or "")
    result = gotoolchain.run(go, ["build"], tmp_path, Progress("building", io.StringIO()))
    assert result.tail.splitlines()[-1] == "https://proxy.example.com local 0"


def test_log_gets_few_lines_and_always_the_last() -> None:
    out = io.StringIO()
    progress = Progress("building it", out)
    for number in range(100):
        progress.say(f"{number} packages")
    progress.done()
    assert out.getvalue() == "building it [0:00] 0 packages\nbuilding it [0:00] done\n"


def test_terminal_gets_one_line_that_is_rewritten() -> None:
    out = _Terminal()
    progress = Progress("building it", out)
    progress.say("1 package")
    progress.done()
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().startswith("\r")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
