"""Tries the MCP server with a client that nobody here wrote: ``python -m bench.inspector``.

The MCP Inspector's command line comes from npm; Node.js has to be there. Without ``--config`` the
server has one cluster that is away, which is enough to list, to search, and to be told so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "@modelcontextprotocol/inspector@0.20.0"
_TIMEOUT_S: Final = 180


class Inspector:
    """The Inspector on our server.

    Args:
        config: our configuration file.
    """

    def __init__(self, config: Path) -> None:
        npx = shutil.which("npx")
        if npx is None:
            sys.exit("inspector: npx is not here; install Node.js 20 or newer")
        environment = ["-e", f"GITOPSD_CONFIG={config}"]
        if path := os.environ.get("PYTHONPATH"):
            environment += ["-e", f"PYTHONPATH={path}"]
        server = [sys.executable, "-m", "cli.main", "mcp"]
        self._command = [npx, "--yes", PACKAGE, "--cli", *environment, *server]

    def ask(self, method: str, *arguments: str) -> dict[str, Any]:
        """Send one request and return its answer."""
        command = [*self._command, "--method", method, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if done.returncode:
            sys.exit(f"inspector: {method}: {done.stderr or done.stdout}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def main() -> int:
    """Send one request of each kind; the exit status is 1 when an answer is not as it should be."""
    parser = argparse.ArgumentParser(prog="bench.inspector", description=__doc__)
    parser.add_argument("--config", type=Path, help="configuration with clusters to look at")
    config = parser.parse_args().config
    folder = Path(tempfile.mkdtemp(prefix="gitopsd-inspector-"))
    try:
        return _try_all(Inspector((config or _config(folder)).absolute()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _config(folder: Path) -> Path:
    config = folder / "config.toml"
    text = f'[daemon]\ndata_dir = "{folder}/data"\n'
    config.write_text(f'{text}[[clusters]]\nname = "away"\nkubeconfig = "{folder}/nowhere"\n')
    return config


def _try_all(inspector: Inspector) -> int:
    tools = inspector.ask("tools/list")["tools"]
    prompts = inspector.ask("prompts/list")["prompts"]
    resources = inspector.ask("resources/list")["resources"]
    clusters = inspector.ask("tools/call", "--tool-name", "list_clusters")
    found = inspector.ask(
        "tools/call", "--tool-name", "search_flux_docs", "--tool-arg", "query=dependsOn"
    )
    wrong = inspector.ask("tools/call", "--tool-name", "trace", "--tool-arg", "kind=ks")
    checks = {
        f"{len(tools)} tools, each with both schemas": all(
            each.get("inputSchema") and each.get("outputSchema") for each in tools
        ),
        f"{len(prompts)} prompts": len(prompts) >= 5,
        f"{len(resources)} resources": bool(resources),
        "clusters are listed": bool(clusters["structuredContent"]["clusters"]),
        "documents are found": not found.get("isError"),
        "a wrong call is answered with what to do": wrong.get("isError") is True,
    }
    for text, is_right in checks.items():
        print(f"{'✔' if is_right else '✗'} {text}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
