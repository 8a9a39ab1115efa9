"""The part of GitHub's REST API that a GitHub App needs, as that App, and what its refusals mean.

Nothing here is cached, and no token is in a URL, a log or an error.

::

    TransientError          (runtime.errors)
    └── GitHubError         reason AuthenticationFailed; what GitHub said and what to do about it
        └── MissingError    there is no such thing, or it is not shown to this App
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp
import msgspec

import api
from api import durations
from runtime import retry
from runtime.errors import TransientError
from sources import connector
from sources.auth import errors, github_app

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from runtime.clock import Clock
    from runtime.limits import Threads
    from sources.auth.github_app import App
    from sources.auth.tls import Contexts

T = TypeVar("T")

TIMEOUT: Final = aiohttp.ClientTimeout(total=20, connect=5)
ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Bytes of an answer that are read; a page of a hundred repositories has half a million."""
SKEW_S: Final = 20.0
"""Seconds by which the clocks may differ before a refused signature is blamed on that."""
_VERSION: Final = "2022-11-28"
_PREFIX: Final = "failed to configure authentication options: "

logger = logging.getLogger(__name__)


class GitHubError(TransientError):
    """GitHub did not give what was asked for."""

    def __init__(self, text: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(
            errors.AUTHENTICATION_FAILED, f"{_PREFIX}{text}", retry_after_s=retry_after_s
        )


class MissingError(GitHubError):
    """GitHub answered 404."""


class Account(msgspec.Struct, frozen=True):
    """An organisation or a user."""

    login: str = ""


class Grant(msgspec.Struct, frozen=True):
    """A token of an installation."""

    token: str
    expires_at: dt.datetime
    permissions: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Grant(expires_at={self.expires_at!r})"


class Installation(msgspec.Struct, frozen=True):
    """An App, installed by somebody."""

    id: int
    account: Account = Account()
    html_url: str = ""
    repository_selection: str = ""
    """``all`` or ``selected``."""
    permissions: dict[str, str] = {}
    events: tuple[str, ...] = ()
    suspended_at: dt.datetime | None = None


class AppInfo(msgspec.Struct, frozen=True):
    """What GitHub knows of an App."""

    slug: str = ""
    name: str = ""
    html_url: str = ""
    permissions: dict[str, str] = {}
    events: tuple[str, ...] = ()


class Repository(msgspec.Struct, frozen=True):
    """A repository that an installation opens."""

    full_name: str
    private: bool = False


class Repositories(msgspec.Struct, frozen=True):
    """A page of repositories."""

    total_count: int
    repositories: tuple[Repository, ...] = ()


class Hook(msgspec.Struct, frozen=True):
    """Where GitHub delivers an App's events."""

    url: str = ""
    content_type: str = ""
    insecure_ssl: str = "0"


class _Said(msgspec.Struct, frozen=True):
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> str:
        """GitHub's own words, cut."""
        try:
            return msgspec.json.decode(self.body, type=_Said).message[:256]
        except msgspec.MsgspecError:
            return ""


class Api:
    """GitHub's API, as one App.

    Args:
        app: who asks.
        threads: signs and reads certificates.
        contexts: TLS contexts to share.
        clock: the machine's, which GitHub's may contradict.
    """

    def __init__(self, app: App, threads: Threads, contexts: Contexts, clock: Clock) -> None:
        self._app = app
        self._threads = threads
        self._contexts = contexts
        self._clock = clock
        self.ahead_s = 0.0
        """How far GitHub's clock is ahead of ours, as far as that matters."""

    async def app(self) -> AppInfo:
        """Return the App itself. Raises what `grant` raises."""
        return await self._as_app("GET", "/app", AppInfo)

    async def installations(self) -> tuple[Installation, ...]:
        """Return who installed the App, a hundred at most. Raises what `grant` raises."""
        return await self._as_app(
            "GET", "/app/installations?per_page=100", tuple[Installation, ...]
        )

    async def hook(self) -> Hook:
        """Return where events go. Raises what `grant` raises."""
        return await self._as_app("GET", "/app/hook/config", Hook)

    async def repositories(self, token: str) -> Repositories:
        """Return the first hundred repositories that a token opens. Raises what `grant` raises."""
        path = "/installation/repositories?per_page=100"
        answer = await self._send("GET", path, f"token {token}")
        return self._decode(answer, Repositories)

    async def installation(self) -> int:
        """Return the number of the installation that is meant, asking for the owner's if needed.

        Raises:
            GitHubError: see `grant`.
        """
        if self._app.installation:
            return int(self._app.installation)
        for kind in ("orgs", "users"):
            try:
                path = f"/{kind}/{self._app.owner}/installation"
                return (await self._as_app("GET", path, Installation)).id
            except MissingError:
                continue
        raise MissingError(
            f"github app {self._app.id} is not installed by '{self._app.owner}': correct "
            f"'{github_app.OWNER_KEY}', or let that organisation or user install the App"
        )

    async def grant(self, installation: int) -> Grant:
        """Return a new token of an installation.

        Raises:
            GitHubError: GitHub refused, asked for patience, or could not be reached.
            CredentialsError: the private key or a certificate cannot be used.
        """
        path = f"/app/installations/{installation}/access_tokens"
        try:
            return await self._as_app("POST", path, Grant)
        except MissingError as err:
            raise MissingError(
                f"github app {self._app.id} has no installation {installation}: correct "
                f"'{github_app.INSTALLATION_KEY}', which is the number at the end of the "
                "installation's address in GitHub's settings"
            ) from err

    async def _as_app(self, method: str, path: str, type_: type[T]) -> T:
        answer = await self._signed(method, path)
        if answer.status == HTTPStatus.UNAUTHORIZED and self._learn_time(answer):
            answer = await self._signed(method, path)
        return self._decode(answer, type_)

    async def _signed(self, method: str, path: str) -> _Answer:
        now_s = self._clock.now().timestamp() + self.ahead_s
        signature = await self._threads.run(github_app.sign, self._app, now_s)
        return await self._send(method, path, f"Bearer {signature}")

    def _learn_time(self, answer: _Answer) -> bool:
        """Take GitHub's time from a refusal; say whether that makes a difference."""
        ahead_s = self._ahead(answer)
        is_other = abs(ahead_s - self.ahead_s) > SKEW_S
        if is_other:
            logger.warning("clock differs from GitHub's", extra={"behind_s": round(ahead_s)})
            self.ahead_s = ahead_s
        return is_other

    def _ahead(self, answer: _Answer) -> float:
        try:
            theirs = parsedate_to_datetime(answer.headers.get("Date", ""))
        except ValueError:
            return self.ahead_s
        if theirs.tzinfo is None:
            return self.ahead_s
        return (theirs - self._clock.now()).total_seconds()

    async def _send(self, method: str, path: str, authorization: str) -> _Answer:
        """Make one request; redirects are not followed, since they could take the token along."""
        app = self._app
        context: ssl.SSLContext | bool = True
        if app.base_url.startswith("https:") or (app.proxy and app.proxy.is_tls):
            context = await self._threads.run(self._contexts.of, app.trust)
        try:
            return await retry.idempotent(
                lambda: self._exchange(method, path, authorization, context), on=_may_pass
            )
        except TimeoutError as err:
            limit = durations.format_go(TIMEOUT.total or 0)
            raise GitHubError(f"{app.base_url} did not answer within {limit}") from err
        except (aiohttp.ClientError, OSError) as err:
            raise GitHubError(f"cannot reach {app.base_url}: {_cause(err)}") from err

    async def _exchange(
        self, method: str, path: str, authorization: str, context: ssl.SSLContext | bool
    ) -> _Answer:
        """Send a request once. A token granted twice does no harm: the first ends by itself."""
        app = self._app
        is_tunnel = app.base_url.startswith("https:")
        through = app.proxy.headers if app.proxy else {}
        async with (
            aiohttp.ClientSession(
                connector=connector.make(app.proxy, ssl=context, limit=1), timeout=TIMEOUT
            ) as session,
            session.request(
                method,
                f"{app.base_url}{path}",
                headers=_headers(authorization) | ({} if is_tunnel else through),
                allow_redirects=False,
                proxy=connector.named(app.proxy),
                proxy_headers=through if is_tunnel else None,
            ) as response,
        ):
            body = await _read(response)
            return _Answer(response.status, response.headers, body)

    def _decode(self, answer: _Answer, type_: type[T]) -> T:
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(answer)
        try:
            return msgspec.json.decode(answer.body, type=type_)
        except msgspec.MsgspecError as err:
            raise GitHubError(
                f"{self._app.base_url} does not answer as GitHub's API does: check the base URL"
            ) from err

    def _refusal(self, answer: _Answer) -> GitHubError:
        """Return what an answer other than success means for users."""
        if answer.status == HTTPStatus.NOT_FOUND:
            return MissingError(
                f"github app {self._app.id} is not known at {self._app.base_url}: check "
                f"'{github_app.ID_KEY}' and the base URL"
            )
        if _is_throttled(answer):
            wait_s = self._wait_s(answer)
            return GitHubError(
                f"github's rate limit is used up, next try in {durations.format_go(wait_s)}",
                retry_after_s=wait_s,
            )
        said = f" ({answer.said})" if answer.said else ""
        if answer.status == HTTPStatus.UNAUTHORIZED:
            return GitHubError(
                f"github refused the signature of app {self._app.id}: "
                f"'{github_app.PRIVATE_KEY}' must be a key of the App that "
                f"'{github_app.ID_KEY}' names, and one that was not deleted{said}"
            )
        if answer.status == HTTPStatus.FORBIDDEN:
            return GitHubError(f"{self._forbidden(answer)}{said}")
        return GitHubError(f"{self._app.base_url} answered with status {answer.status}{said}")

    def _forbidden(self, answer: _Answer) -> str:
        if "suspended" in answer.said.lower():
            return (
                f"the installation of github app {self._app.id} is suspended: unsuspend it in "
                "GitHub's settings under Installed GitHub Apps"
            )
        return f"github app {self._app.id} may not do this: check its permissions"

    def _wait_s(self, answer: _Answer) -> float:
        """Return for how long GitHub asks to be left alone, a minute where it does not say."""
        for name, base_s in (
            ("Retry-After", 0.0),
            ("X-RateLimit-Reset", self._clock.now().timestamp() + self.ahead_s),
        ):
            value = answer.headers.get(name, "")
            if value.isdecimal():
                return min(3600.0, max(1.0, round(int(value) - base_s)))
        return 60.0


def _may_pass(error: BaseException) -> bool:
    """Tell a connection that was lost, or not made, from one that cannot be: TLS, a deadline."""
    is_lost = isinstance(error, aiohttp.ClientConnectionError)
    return is_lost and not isinstance(error, (aiohttp.ClientSSLError, TimeoutError))


def _headers(authorization: str) -> dict[str, str]:
    return {
        "Accept": "application/vnd.github+json",
        "Authorization": authorization,
        "User-Agent": f"gitopsd/{api.__version__}",
        "X-GitHub-Api-Version": _VERSION,
    }


def _is_throttled(answer: _Answer) -> bool:
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    is_spent = answer.headers.get("X-RateLimit-Remaining") == "0"
    is_forbidden = answer.status == HTTPStatus.FORBIDDEN
    return is_forbidden and (is_spent or "Retry-After" in answer.headers)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer, up to a length at which it cannot be one of these."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES:
            break
    return bytes(body)


def _cause(error: Exception) -> str:
    inner = getattr(error, "os_error", None)
    text = getattr(error, "strerror", None) or str(inner or error)
    return text or type(error).__name__
