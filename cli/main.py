"""The ``gitopsd`` command: finds the module of the subcommand and runs it, nothing else.

Only the chosen subcommand's module is imported, so ``gitopsd --help`` costs no more than argparse.
Exit statuses: 0 done, 1 it did not work (or not everywhere), 2 the command line or the settings are
wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING, Protocol

from api import __version__
from inspection import failure

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": "run the daemon in the foreground",
    "status": "show what the daemon does: clusters, sources, Kustomizations",
    "get": "list Flux objects as the flux CLI does",
    "diff": "show what applying a Kustomization or a HelmRelease would change",
    "build": "print what a Kustomization or a HelmRelease makes",
    "export": "print Flux objects as YAML to be applied again",
    "tree": "show what a Flux object owns",
    "history": "list what a release or a Kustomization was before",
    "trace": "show where an object comes from: applier, source, commit",
    "graph": "draw who needs whom: sources, dependsOn, what applies what",
    "debug": "tell why an object is not ready, and what to do",
    "compare": "show how two clusters differ",
    "drift": "list what somebody changed by hand and was put back",
    "events": "list what happened to Flux objects lately",
    "logs": "print the log of the daemon, or of a workload's pods",
    "stats": "count objects by kind and state",
    "webhooks": "list the addresses that wake sources",
    "reconcile": "reconcile an object now and wait for the result",
    "suspend": "stop reconciling an object",
    "resume": "reconcile a suspended object again",
    "takeover": "take a cluster over from Flux's own controllers, or hand it back",
    "mcp": "serve agents over the Model Context Protocol",
    "create": "write sources, Kustomizations, HelmReleases and Secrets, or print them",
    "delete": "delete Flux objects, with what they applied",
    "github": "try the GitHub App of config.toml, or print its webhook's settings",
    "check": "check settings, tools, clusters, permissions and listeners",
    "config": "print the commented example of config.toml",
    "service": "install gitopsd as a service of this machine",
    "completion": "print the completion for bash, zsh or fish",
    "version": "print the version",
}
"""Every subcommand, which is also its module, with its one-line description."""
_INTERRUPTED = 130


class Command(Protocol):
    """What the module of a subcommand offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the subcommand's arguments."""
        ...

    def execute(self, args: argparse.Namespace) -> int:
        """Do it and return the exit status."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except failure.CommandError as err:
        print(f"gitopsd: {err}", file=sys.stderr)
        return err.status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _run(arguments: Sequence[str]) -> int:
    """Find the subcommand and run it."""
    top = _top_parser()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        top.error(f"there is no command {arguments[0]!r}; {_nearest(arguments[0])}")
    chosen = top.parse_args(arguments[:1]).command
    parser = argparse.ArgumentParser(prog=f"gitopsd {chosen}", description=COMMANDS[chosen])
    command: Command = importlib.import_module(f"cli.{chosen}")
    command.configure(parser)
    return command.execute(parser.parse_args(arguments[1:]))


def _nearest(word: str) -> str:
    """Return what a mistyped command may have meant."""
    import difflib

    near = difflib.get_close_matches(word.lower(), COMMANDS, n=3)
    return f"did you mean {' or '.join(near)}?" if near else "`gitopsd --help` lists them"


def _top_parser() -> argparse.ArgumentParser:
    """Return the parser of everything before the subcommand's own arguments."""
    listing = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="gitopsd",
        usage="gitopsd COMMAND [options]",
        description="GitOps for Kubernetes from outside the cluster.",
        epilog=f"commands:\n{listing}\n\n`gitopsd COMMAND --help` explains one of them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gitopsd {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="what to do")
    return parser


if __name__ == "__main__":
    sys.exit(main())
