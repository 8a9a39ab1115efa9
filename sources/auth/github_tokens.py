"""Tokens of GitHub Apps: one for each App, installation and API, shared by all who need it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from runtime.errors import TransientError
from sources.auth import basic, errors, github_api

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.limits import Threads
    from sources.auth.github_api import Grant
    from sources.auth.github_app import App
    from sources.auth.tls import Contexts

USERNAME: Final = "x-access-token"
"""The user name under which GitHub takes a token for a password."""
RENEW_BEFORE_S: Final = 600.0
"""A token with less to live than this is renewed; GitHub's live an hour."""
LAST_S: Final = 60.0
"""A token with less to live than this is used no more, even where GitHub gives no other."""
FRESH_S: Final = 60.0
"""A token younger than this is not to blame when a server refuses it."""
LIMIT: Final = 256
"""Apps that are remembered at most; the longest unused go first."""

logger = logging.getLogger(__name__)


class Tokens:
    """The token of one installation of one App, renewed before it ends.

    Args:
        app: whose.
        api: GitHub's API as that App.
        clock: tells when a token ends.
    """

    def __init__(self, app: App, api: github_api.Api, clock: Clock) -> None:
        self._app = app
        self._api = api
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._installation = 0
        self._grant: Grant | None = None
        self._granted_s = 0.0

    async def authorization(self, url: str = "") -> str:
        """Return the ``Authorization`` header for Git over HTTP; the same for every URL.

        Raises:
            GitHubError: GitHub gives no token.
            TransientError: the private key or a certificate cannot be used.
        """
        del url
        return basic.header(USERNAME, (await self.grant()).token)

    async def grant(self) -> Grant:
        """Return a token that lives for a while; those who ask together share one.

        Raises:
            GitHubError: GitHub gives none.
            TransientError: the private key or a certificate cannot be used.
        """
        if self._grant is None or self._left_s(self._grant) < RENEW_BEFORE_S:
            async with self._renewing:
                await self._renew()
        if self._grant is None:
            raise RuntimeError("a renewal without an error leaves a token")
        return self._grant

    def doubt(self) -> None:
        """Get another token the next time, since a server refused this one.

        A very young one is kept: then the refusal has another reason, and asking again and again
        would only use up what GitHub allows.
        """
        if self._clock.monotonic() - self._granted_s > FRESH_S:
            self._grant, self._installation = None, 0

    async def _renew(self) -> None:
        """Get a token unless somebody just did; an old one that still holds covers a failure."""
        old = self._grant
        if old is not None and self._left_s(old) >= RENEW_BEFORE_S:
            return
        try:
            self._installation = self._installation or await self._api.installation()
            self._grant = await self._api.grant(self._installation)
        except github_api.GitHubError as err:
            self._installation = 0
            if old is None or self._left_s(old) < LAST_S:
                raise
            logger.warning("token cannot be renewed yet", extra={"error": err.message})
        except errors.CredentialsError as err:
            raise TransientError(
                errors.AUTHENTICATION_FAILED, f"failed to configure authentication options: {err}"
            ) from err
        else:
            self._granted_s = self._clock.monotonic()

    def _left_s(self, grant: Grant) -> float:
        return (grant.expires_at - self._clock.now()).total_seconds() - self._api.ahead_s


class Apps:
    """The tokens of every App in use.

    Args:
        threads: signs and reads certificates.
        contexts: TLS contexts to share.
        clock: tells when a token ends.
    """

    def __init__(self, threads: Threads, contexts: Contexts, clock: Clock) -> None:
        self._threads = threads
        self._contexts = contexts
        self._clock = clock
        self._tokens: dict[bytes, Tokens] = {}

    def tokens(self, app: App) -> Tokens:
        """Return the tokens of an App: for those who know its key, and the same for all of them."""
        key = app.identity
        found = self._tokens.pop(key, None)
        if found is None:
            api = github_api.Api(app, self._threads, self._contexts, self._clock)
            found = Tokens(app, api, self._clock)
        self._tokens[key] = found
        while len(self._tokens) > LIMIT:
            del self._tokens[next(iter(self._tokens))]
        return found
