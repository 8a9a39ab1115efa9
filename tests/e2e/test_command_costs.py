"""What commands and an agent's questions ask of an API server, by its own audit log.

Counted and not timed: a listing is one request a kind, a question one listing and what it needs
besides, and with a daemon ``status`` asks nothing at all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cli import main
from daemon import kinds
from devcluster import accounting
from tests.support import agents
from tests.support.estate import config_map

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from bench.bed import Bed
    from devcluster.accounting import Kind
    from devcluster.cluster import Cluster
    from tests.support.estate import Tenant

pytestmark = [
    pytest.mark.leftovers("connections to the Git server live as long as the daemon"),
    pytest.mark.blocking("commands run in this process, with loops of their own"),
]
KINDS = len(kinds.ALL)


class Reader(NamedTuple):
    """A user who only looks, and what the API server wrote down of it."""

    config: Path
    log: accounting.AuditLog

    def run(self, *argv: str) -> tuple[int, Counter[Kind]]:
        """Run a command; return its status and its requests."""
        self.log.take()
        status = main.main([*argv, "--config", str(self.config)])
        return status, accounting.settled(self.log)

    async def ask(self, tool: str, **arguments: Any) -> Counter[Kind]:
        """Call a tool of a server that was asked before, and return its requests."""
        async with agents.inside(self.config) as client:
            await client.call_tool(tool, arguments)
            await asyncio.to_thread(accounting.settled, self.log)
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, agents.text_of(result)
            return await asyncio.to_thread(accounting.settled, self.log)


@pytest.fixture(scope="module")
def reader(bed: Bed, audited: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Somebody beside the daemon, with settings of their own, for whom no daemon runs."""
    folder = tmp_path_factory.mktemp("reader")
    kubeconfig = audited.user("command-reader", groups=("system:masters",))
    config = folder / "config.toml"
    config.write_text(
        f'[daemon]\ndata_dir = "{folder}/data"\n'
        f'[[clusters]]\nname = "home"\nkubeconfig = "{kubeconfig}"\n'
    )
    assert bed.daemon
    return Reader(config, accounting.AuditLog(audited.audit_log, "command-reader"))


@pytest.fixture
def shop(tenant: Tenant) -> Tenant:
    """A tenant with one Kustomization that is applied."""
    tenant.push({"web/a.yaml": config_map(tenant.name, "a", k="1")})
    tenant.kustomize("web")
    tenant.until_applied("web")
    return tenant


def test_status_of_a_running_daemon_asks_no_cluster(
    bed: Bed, shop: Tenant, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bed.daemon
    text = reader.config.read_text()
    socket = bed.daemon.config.read_text().split('control_socket = "')[1].partition('"')[0]
    other = reader.config.with_name("with-daemon.toml")
    other.write_text(text.replace("[daemon]\n", f'[daemon]\ncontrol_socket = "{socket}"\n'))

    reader.log.take()
    main.main(["status", "--all", "--config", str(other)])

    assert shop.kustomization("web") in capsys.readouterr().out
    assert not accounting.settled(reader.log)


def test_status_without_a_daemon_lists_each_kind_once(reader: Reader, shop: Tenant) -> None:
    status, counts = reader.run("status")

    assert status == 1
    assert shop.name
    assert set(counts.values()) == {1}
    assert {kind.verb for kind in counts} == {"list"}
    assert len(counts) == KINDS


@pytest.mark.parametrize(
    ("argv", "requests"),
    [
        (("get", "ks", "-A"), 1),
        (("get", "all", "-A"), KINDS),
        (("stats",), KINDS),
        (("graph",), KINDS),
        (("webhooks",), 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_listing_is_one_request_for_each_kind(
    reader: Reader, shop: Tenant, argv: tuple[str, ...], requests: int
) -> None:
    assert shop.name
    _, counts = reader.run(*argv)

    assert sum(counts.values()) == requests
    assert {kind.verb for kind in counts} == {"list"}


def test_events_of_a_namespace_are_one_request(reader: Reader, shop: Tenant) -> None:
    _, counts = reader.run("events", "-n", shop.name)
    assert sum(counts.values()) == 1
    assert {kind.verb for kind in counts} == {"list"}


async def test_question_is_one_look_at_the_kinds_and_at_the_object(
    reader: Reader, shop: Tenant
) -> None:
    where = {"kind": "ks", "name": shop.kustomization("web"), "namespace": "bench"}
    expected = {
        "explain_not_ready": KINDS + 1,
        "trace": KINDS + 1,
        "rollback_hint": KINDS + 1,
        "get_tree": KINDS,
        "dependency_graph": KINDS,
    }

    counts = {tool: await reader.ask(tool, **where) for tool in expected}

    assert {tool: sum(found.values()) for tool, found in counts.items()} == expected
    for found in counts.values():
        assert {kind.verb for kind in found} <= {"get", "list"}
