from __future__ import annotations

import asyncio

from cli import check_sources
from tests.support.fluxobjects import flux, git


def test_each_host_is_named_once_with_its_port() -> None:
    found = check_sources.hosts(
        [
            git(),
            git("again"),
            flux("GitRepository", "ssh", {"url": "ssh://git@example.com/x.git"}),
            flux("OCIRepository", "oci", {"url": "oci://ghcr.io/a/b"}),
            flux("Bucket", "box", {"endpoint": "minio.local:9000"}),
            flux("GitRepository", "off", {"url": "https://gone.example", "suspend": True}),
            flux("HelmChart", "chart", {"chart": "web"}),
        ]
    )

    assert found == {
        ("example.com", 443): "GitRepository/flux-system/fleet",
        ("example.com", 22): "GitRepository/flux-system/ssh",
        ("ghcr.io", 443): "OCIRepository/flux-system/oci",
        ("minio.local", 9000): "Bucket/flux-system/box",
    }


async def test_host_is_tried_and_its_failure_told_with_what_to_do() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        is_good, line = await check_sources._reach("127.0.0.1", port, "GitRepository/a/b")
        assert is_good, line
    is_good, line = await check_sources._reach("127.0.0.1", port, "GitRepository/a/b")

    assert not is_good
    assert "GitRepository/a/b names it: check the URL" in line
