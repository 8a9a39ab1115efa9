"""Files that ship with the program: in ``cli/files`` of a wheel, at the root of a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def read(name: str) -> str:
    """Return the text of a shipped file, such as ``systemd/gitopsd.service``."""
    shipped = _PACKAGE / "files" / name
    return (shipped if shipped.exists() else _PACKAGE.parent / name).read_text()
