from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon import reload, settings

if TYPE_CHECKING:
    from pathlib import Path


def test_webhook_secret_is_read_anew_each_time(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"one")
    secret.chmod(0o600)
    loaded = settings.Settings(github=settings.GitHub(webhook_secret_file=secret))
    found = reload.Reload(tmp_path / "config.toml", loaded)

    assert found.github_secret() == b"one"
    secret.write_bytes(b"two")
    assert found.github_secret() == b"two"


def test_webhook_secret_that_others_can_read_counts_as_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"one")
    secret.chmod(0o644)
    loaded = settings.Settings(github=settings.GitHub(webhook_secret_file=secret))

    assert reload.Reload(tmp_path / "config.toml", loaded).github_secret() is None


def test_no_secret_file_means_no_secret(tmp_path: Path) -> None:
    assert reload.Reload(tmp_path / "c.toml", settings.Settings()).github_secret() is None


def test_asking_says_which_file_is_read(tmp_path: Path) -> None:
    found = reload.Reload(tmp_path / "c.toml", settings.Settings())

    assert found.ask() == f"reading {tmp_path / 'c.toml'}"


def test_age_key_is_read_anew_and_a_file_that_others_can_read_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_bytes(b"AGE-SECRET-KEY-1")
    file.chmod(0o600)
    loaded = settings.Settings(decryption=settings.Decryption(age_key_file=file))
    found = reload.Reload(tmp_path / "config.toml", loaded)

    assert found.age_key() == b"AGE-SECRET-KEY-1"
    file.chmod(0o644)
    with pytest.raises(ValueError, match="lets others in"):
        found.age_key()
    assert reload.Reload(tmp_path / "c.toml", settings.Settings()).age_key() is None
