"""The addresses at which clouds tell their own machines who they are, and those that hand out keys.

::

    async with ambient.serving() as cloud:
        cloud.answers["/metadata/identity/oauth2/token"] = {"access_token": "t", "expires_in": 3600}
        machine = cloud.machine(AZURE_POD_IDENTITY_AUTHORITY_HOST=cloud.url)
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sources.auth import tls
from sources.auth.ambient.machine import Machine
from tests.support import blocking
from tests.support.api import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runtime.limits import Threads


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]


@dataclass
class Cloud:
    """Answers what it was told to, by path; 404 for the rest."""

    url: str
    home: Path
    threads: Threads
    clock: ManualClock = field(default_factory=ManualClock)
    answers: dict[str, Any] = field(default_factory=dict)
    """By path: text, an object that becomes JSON, or the status of a refusal."""
    asked: list[Asked] = field(default_factory=list)

    def machine(self, **environ: str) -> Machine:
        """Return a machine of this environment."""
        return Machine(environ, self.home, tls.Contexts(), self.threads, self.clock)

    def file(self, path: str, text: str) -> str:
        """Write a file below the user's folder, and return where it is."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return str(target)

    async def answer(self, request: web.Request) -> web.Response:
        """Note a request, and answer it."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        query, headers = dict(request.query), dict(request.headers)
        self.asked.append(Asked(request.method, request.path, query, headers, form))
        found = self.answers.get(request.path, 404)
        if isinstance(found, int):
            return web.Response(status=found, text="refused")
        return web.Response(text=found) if isinstance(found, str) else web.json_response(found)


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[Cloud]:
    """Serve on a free port of 127.0.0.1.

    Args:
        home: the folder of the machine's user.
    """
    app = web.Application()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    async with blocking.threads() as threads:
        cloud = Cloud("", home, threads)
        app.router.add_route("*", "/{path:.*}", cloud.answer)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        cloud.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield cloud
        finally:
            await runner.cleanup()
