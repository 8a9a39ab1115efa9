"""The GitHub App that belongs to this machine, for GitRepositories that bring none of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sources.auth import errors

if TYPE_CHECKING:
    from sources.auth.github_app import App

EVERY: Final = "*"
"""Stands for every namespace."""


@dataclass(frozen=True, slots=True)
class MachineApp:
    """An App, and who may use it."""

    app: App
    namespaces: frozenset[str]
    """Of the GitRepositories that may; `EVERY` in it lets in all."""

    def check(self, namespace: str, url: str) -> None:
        """Make sure that a GitRepository may use the App for a URL.

        Whoever may write the object chooses the URL, so the token must go to the App's own host
        only, and in clear only where the API is reached in clear too.

        Raises:
            CredentialsError: it may not.
        """
        if not self.namespaces & {EVERY, namespace}:
            raise errors.CredentialsError(
                f"the GitHub App of config.toml is not for namespace '{namespace}': name a "
                "secretRef with github app data, or add the namespace to namespaces in [github]"
            )
        parts, base = urlsplit(url), urlsplit(self.app.base_url)
        if parts.hostname != self.app.host or parts.scheme not in {"https", base.scheme}:
            raise errors.CredentialsError(
                f"the GitHub App of config.toml opens {base.scheme}://{self.app.host} only"
            )
