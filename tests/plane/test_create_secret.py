"""``gitopsd create secret`` on a real API server."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.access import Access


def test_secret_is_written_and_replaced_whole(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[[clusters]]\nname = "home"\nkubeconfig = "{cluster.kubeconfig}"\n')
    line = ["create", "secret", "git", "fleet", "-n", namespace, "--config", str(config)]

    assert main.main([*line, "--username=ada", "--password=pw"]) == 0
    assert main.main([*line, "--bearer-token=t0ken"]) == 0

    shown = cluster.kubectl("get", "secret", "fleet", "-n", namespace, "-o", "json")
    assert json.loads(shown)["data"] == {"bearerToken": base64.b64encode(b"t0ken").decode()}
