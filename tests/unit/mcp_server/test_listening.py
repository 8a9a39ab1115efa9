from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from inspection import failure
from mcp_server import listening

if TYPE_CHECKING:
    from pathlib import Path


def test_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "data" / "token"

    token = listening.token_of(file)

    assert len(token) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert listening.token_of(file) == token


def test_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n")
    file.chmod(0o644)

    with pytest.raises(failure.UsageError, match="chmod 600"):
        listening.token_of(file)


async def test_only_loopback_is_served(tmp_path: Path) -> None:
    server: object = None
    with pytest.raises(failure.UsageError, match="only loopback is served"):
        await listening.serve(server, "0.0.0.0:0", tmp_path / "token", print)  # type: ignore[arg-type]
