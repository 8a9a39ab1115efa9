"""A stand-in for the Go toolchain: a script that says what Go says, in a moment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT = """\
#!/bin/sh
[ "$1" = env ] && {{ echo "{version}"; exit 0; }}
echo "$*" >> "{calls}"
echo "go: downloading example.com/module v1.0.0" >&2
echo "example.com/module/package" >&2
{ending}
name=$(printf '%s\\n' "$@" | sed -n '/^-o$/{{n;p;}}')
[ -n "$name" ] || name={installs}
printf '#!/bin/sh\\necho built\\n' > "${{GOBIN}}/$name"
"""


class FakeGo(Protocol):
    """Puts a ``go`` on PATH; returns the file that gets a line for each build."""

    def __call__(
        self, *, version: str = "go1.26.1", ending: str = "", installs: str = "kustomize"
    ) -> Path: ...


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGo:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def put(*, version: str = "go1.26.1", ending: str = "", installs: str = "kustomize") -> Path:
        program, calls = tmp_path / "bin" / "go", tmp_path / "calls"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            _SCRIPT.format(version=version, calls=calls, ending=ending, installs=installs)
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        return calls

    return put
