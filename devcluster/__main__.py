"""The command line: ``python -m devcluster up|down|status|kubectl|tools``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from devcluster import access, toolcache
from devcluster.cluster import Cluster, remove
from devcluster.errors import DevclusterError

_NEEDED = (
    "cosign",
    "devcluster",
    "helm",
    "kustomize",
    "kwok",
    "notation",
    "registry",
    "sops",
)
"""What the tests use, and `tools` builds unless told otherwise."""


def main() -> int:
    """Run one command; the exit status is 1 when it failed."""
    parser = argparse.ArgumentParser(
        prog="devcluster", description="A Kubernetes control plane on loopback."
    )
    parser.add_argument(
        "--dir", type=Path, default=Path(".run"), help="where it lives (default: .run)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it; returns when it is ready")
    up.add_argument(
        "--pods", action="store_true", help="with a scheduler and a node that exists on paper"
    )
    up.add_argument("--audit", action="store_true", help="write an audit log")
    down = commands.add_parser("down", help="stop what `up` started")
    down.add_argument("--purge", action="store_true", help="and delete its data")
    commands.add_parser("status", help="say what runs")
    commands.add_parser(
        "kubectl", help="run kubectl against it, with all arguments that follow", add_help=False
    )
    tools = commands.add_parser("tools", help="build tools into the cache and print where they are")
    tools.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(toolcache.RECIPES)}"
    )
    options, rest = parser.parse_known_args()
    if rest and options.command != "kubectl":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.arguments = rest
    try:
        return int(_COMMANDS[options.command](options) or 0)
    except DevclusterError as error:
        print(f"devcluster: {error}", file=sys.stderr)
        return 1


def _up(options: argparse.Namespace) -> None:
    found = access.existing(options.dir)
    if found:
        print(f"{access.EXISTING} is set: using the cluster of {found.kubeconfig}, nothing started")
        return
    start = time.monotonic()
    cluster = Cluster(options.dir, pods=options.pods, audit=options.audit)
    cluster.up()
    print(
        f"The cluster answers at {cluster.server} ({time.monotonic() - start:.1f} s). To use it:\n"
    )
    print(f"    export KUBECONFIG={cluster.kubeconfig}")
    if not shutil.which("kubectl"):
        print(f"    alias kubectl={access.program('kubectl')}")
    print("    kubectl get namespaces\n")
    print("`make cluster-down` stops it and keeps its data; `make clean` deletes that too.")


def _down(options: argparse.Namespace) -> None:
    if options.purge:
        remove(options.dir)
    else:
        Cluster(options.dir).down()


def _status(options: argparse.Namespace) -> int:
    pids = Cluster(options.dir).pids
    for name, pid in pids.items():
        print(f"{name:24} {pid}")
    if not pids:
        print("nothing runs here")
    return 0 if pids else 1


def _kubectl(options: argparse.Namespace) -> None:
    found = access.existing(options.dir) or Cluster(options.dir)
    program = access.program("kubectl")
    environment = os.environ | {"KUBECONFIG": str(found.kubeconfig)}
    os.execve(program, ["kubectl", *options.arguments], environment)  # noqa: S606 - becomes kubectl


def _tools(options: argparse.Namespace) -> None:
    names = options.names or _NEEDED
    if unknown := set(names) - toolcache.RECIPES.keys():
        raise DevclusterError(
            f"no such tool: {', '.join(sorted(unknown))}; there are {', '.join(toolcache.RECIPES)}"
        )
    for name in names:
        print(toolcache.ensure(toolcache.RECIPES[name]))


_COMMANDS = {"up": _up, "down": _down, "status": _status, "kubectl": _kubectl, "tools": _tools}

if __name__ == "__main__":
    sys.exit(main())
