"""``[github]`` of the settings, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon import github, settings
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from pathlib import Path

PEM = b"-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key.pem"
    file.touch(mode=0o600)
    file.write_bytes(PEM)
    return file


def table(file: Path | None, **values: Any) -> settings.GitHub:
    return settings.GitHub(
        **{"app_id": 7, "installation": "acme", "private_key_file": file, **values}
    )


def test_settings_without_an_app_have_none() -> None:
    assert github.machine_app(settings.GitHub()) is None


def test_owner_and_number_of_an_installation_are_told_apart(key_file: Path) -> None:
    by_owner = github.machine_app(table(key_file))
    by_number = github.machine_app(table(key_file, installation=12))
    assert by_owner is not None
    assert by_number is not None
    assert (by_owner.app.id, by_owner.app.owner, by_owner.app.installation) == ("7", "acme", "")
    assert (by_number.app.owner, by_number.app.installation) == ("", "12")
    assert by_owner.namespaces == {"flux-system"}


def test_changed_key_is_another_app(key_file: Path) -> None:
    before = github.machine_app(table(key_file))
    key_file.write_bytes(PEM.replace(b"x", b"y"))
    after = github.machine_app(table(key_file))
    assert before is not None
    assert after is not None
    assert before.app.identity != after.app.identity


def test_key_that_others_may_read_is_refused(key_file: Path) -> None:
    key_file.chmod(0o640)
    with pytest.raises(CredentialsError, match=r"mode 0640 lets others in; run: chmod 600"):
        github.machine_app(table(key_file))


def test_authority_of_an_enterprise_server_is_trusted(key_file: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"CA")
    found = github.machine_app(
        table(key_file, ca_file=tmp_path / "ca.pem", base_url="https://ghe.example/api/v3/")
    )
    assert found is not None
    assert (found.app.trust.ca, found.app.base_url) == (b"CA", "https://ghe.example/api/v3")
    assert found.app.host == "ghe.example"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"private_key_file": None}, "private_key_file is missing"),
        ({"installation": ""}, "installation is missing"),
        ({"base_url": "ghe.example"}, "'githubAppBaseURL' is no https:// address"),
    ],
)
def test_what_is_missing_is_named(key_file: Path, values: dict[str, Any], text: str) -> None:
    with pytest.raises(CredentialsError, match=r"^\[github\] of config.toml: ") as caught:
        github.machine_app(table(key_file, **values))
    assert text in str(caught.value)


def test_missing_files_are_named(key_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="nowhere: No such file"):
        github.machine_app(table(tmp_path / "nowhere"))
    with pytest.raises(CredentialsError, match="nowhere: No such file"):
        github.machine_app(table(key_file, ca_file=tmp_path / "nowhere"))
