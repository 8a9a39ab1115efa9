"""``[github]`` as the GitHub App it describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import settings
from sources.auth import github_app, tls
from sources.auth.errors import CredentialsError
from sources.auth.machine_app import MachineApp

if TYPE_CHECKING:
    from daemon.settings import GitHub
    from sources.auth.github_app import App


def machine_app(table: GitHub) -> MachineApp | None:
    """Return the App that the settings describe, None where they describe none. Blocks.

    Raises:
        CredentialsError: the key file cannot be read, lets others in, or does not go with the rest.
    """
    if not table.app_id:
        return None
    try:
        return MachineApp(_app(table), frozenset(table.namespaces))
    except OSError as err:
        raise CredentialsError(f"[github] of config.toml: {err.filename}: {err.strerror}") from err
    except (settings.SettingsError, CredentialsError) as err:
        raise CredentialsError(f"[github] of config.toml: {err}") from err


def _app(table: GitHub) -> App:
    """Return the App, without saying yet where what is wrong with it was written."""
    installation = str(table.installation)
    if not installation:
        raise CredentialsError("installation is missing: the organisation or user, or a number")
    if table.private_key_file is None:
        raise CredentialsError("private_key_file is missing")
    is_number = installation.isdecimal()
    return github_app.make(
        str(table.app_id),
        settings.read_secret(table.private_key_file),
        installation=installation if is_number else "",
        owner="" if is_number else installation,
        base_url=table.base_url,
        trust=tls.Trust(table.ca_file.read_bytes()) if table.ca_file else tls.SYSTEM,
    )
