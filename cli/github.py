"""``gitopsd github``: try the GitHub App of ``config.toml``, and say what to enter at GitHub."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from cli import settings
from daemon import github
from inspection import failure
from runtime import clock, limits
from runtime.errors import GitOpsError
from sources.auth import github_api, github_tokens, tls
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Mapping

    from daemon.settings import Settings
    from sources.auth.github_app import App

PERMISSIONS: Final = {"contents": "read", "metadata": "read"}
"""What the App needs to fetch repositories."""
SHOWN: Final = 20
"""Repositories that are listed by name."""
HOOK_PATH: Final = "/webhooks/github"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two commands and their options."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="check|webhook")
    check = commands.add_parser("check", help="try the GitHub App and print what it can see")
    webhook = commands.add_parser("webhook", help="print what to enter in the App's settings")
    webhook.add_argument("--url", default="", help="the daemon's address as GitHub reaches it")
    for each in (check, webhook):
        settings.add_option(each)


def execute(args: argparse.Namespace) -> int:
    """Do what was asked; ``check`` fails when something is wrong."""
    loaded = settings.load(args)
    if args.what == "webhook":
        print(webhook_text(loaded, args.url))
        return 0
    return asyncio.run(check(loaded))


def webhook_text(loaded: Settings, url: str) -> str:
    """Return what to enter at GitHub for the push webhook."""
    public = url.rstrip("/").removesuffix(HOOK_PATH) or "https://<the daemon's public name>"
    file = loaded.github.webhook_secret_file
    secret = f"the content of {file}" if file else "none yet, so deliveries are refused: see below"
    lines = [
        "In the App's settings at GitHub (or a repository's, under Webhooks):",
        f"  Webhook URL       {public}{HOOK_PATH}",
        "  Content type      application/json",
        f"  Secret            {secret}",
        "  SSL verification  enabled",
        "  Permissions       Contents: read-only, Metadata: read-only",
        "  Events            Push",
        "",
        f"The daemon listens on {loaded.listen.webhooks or '(switched off)'}, key webhooks in",
        "[listen]; put a TLS proxy or a tunnel in front of it that reaches this path alone.",
    ]
    if file is None:
        path = "~/.config/gitopsd/github-webhook-secret"
        lines += [
            "",
            "To make a secret:",
            f"  (umask 077 && openssl rand -hex 32 > {path})",
            f'  then in [github] of config.toml: webhook_secret_file = "{path}"',
        ]
    return "\n".join(lines)


async def check(loaded: Settings) -> int:
    """Try the App step by step, print what is found, and return the exit status."""
    try:
        machine = github.machine_app(loaded.github)
    except CredentialsError as err:
        raise failure.UsageError(str(err)) from err
    if machine is None:
        raise failure.UsageError("config.toml has no [github] app_id; see `gitopsd config`")
    print(f"✔ key: {loaded.github.private_key_file}")
    async with _api(machine.app) as (api, tokens):
        try:
            is_right = await _app(api)
            is_right &= await _installation(api, tokens, machine.app)
        except GitOpsError as err:
            print(f"✗ {err.message.removeprefix('failed to configure authentication options: ')}")
            return 1
        except CredentialsError as err:
            print(f"✗ {err}")
            return 1
    print(f"  for provider github in: {', '.join(sorted(machine.namespaces))}")
    return 0 if is_right else 1


@asynccontextmanager
async def _api(app: App) -> AsyncIterator[tuple[github_api.Api, github_tokens.Tokens]]:
    threads, system = limits.Threads(1), clock.SystemClock()
    try:
        api = github_api.Api(app, threads, tls.Contexts(), system)
        yield api, github_tokens.Tokens(app, api, system)
    finally:
        await threads.aclose()


async def _app(api: github_api.Api) -> bool:
    """Show the App, its webhook and its clock's agreement with ours."""
    found = await api.app()
    print(f"✔ app: {found.name}, {found.html_url}")
    is_right = _line(not api.ahead_s, _clock(api.ahead_s))
    hook = await api.hook()
    is_set = hook.url.endswith(HOOK_PATH)
    print(f"{'✔' if is_set else '!'} webhook: {hook.url or 'none'}{'' if is_set else _HOOK_ADVICE}")
    if is_set and hook.content_type != "json":
        is_right &= _line(False, "webhook: the content type must be application/json")
    if is_set and "push" not in found.events:
        is_right &= _line(False, "webhook: the App is not subscribed to the event Push")
    return is_right


_HOOK_ADVICE: Final = "; pushes then wait for the interval, see `gitopsd github webhook`"


async def _installation(api: github_api.Api, tokens: github_tokens.Tokens, app: App) -> bool:
    """Show who installed the App, and what the installation that is meant opens."""
    for each in await api.installations():
        state = ", suspended" if each.suspended_at else ""
        is_ours = app.installation == str(each.id) or app.owner == each.account.login
        mark = "✔" if is_ours else " "
        what = f"{each.repository_selection} repositories{state}, {each.html_url}"
        print(f"{mark} installation {each.id}: {each.account.login}, {what}")
    grant = await tokens.grant()
    is_right = _line(
        not (missing := _missing(grant.permissions)), f"permissions: {missing or 'enough'}"
    )
    page = await api.repositories(grant.token)
    is_right &= _line(page.total_count > 0, f"repositories: {page.total_count}")
    for repository in page.repositories[:SHOWN]:
        print(f"    {repository.full_name}")
    if page.total_count > SHOWN:
        print(f"    … and {page.total_count - SHOWN} more")
    return is_right


def _missing(granted: Mapping[str, str]) -> str:
    """Say which permissions are missing, empty where none is."""
    lacking = [name for name in PERMISSIONS if name not in granted]
    return (
        f"missing {', '.join(lacking)}: grant read access in the App's settings" if lacking else ""
    )


def _clock(ahead_s: float) -> str:
    if not ahead_s:
        return "clock: agrees with GitHub's"
    side = "behind" if ahead_s > 0 else "ahead of"
    return f"clock: {abs(ahead_s):.0f} s {side} GitHub's; set it right"


def _line(is_right: bool, text: str) -> bool:
    print(f"{'✔' if is_right else '✗'} {text}")
    return is_right
