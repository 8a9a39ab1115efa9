"""Completion, asked of the real shells: those of the three that this machine has."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from cli import completion
from cli.main import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPTS: dict[str, Callable[[], str]] = {
    "bash": completion.bash,
    "zsh": completion.zsh,
    "fish": completion.fish,
}
SHELLS = [name for name in SCRIPTS if shutil.which(name)]
ASK = {
    "bash": "COMP_WORDS=({words}); COMP_CWORD={last}; _gitopsd; "
    "printf '%s\\n' \"${{COMPREPLY[@]}}\"",
    "zsh": 'compadd() {{ shift; print -l -- "$@" }}; words=({words}); CURRENT={count}; _gitopsd',
    "fish": "complete -C {line}",
}


def completed(shell: str, line: str) -> set[str]:
    """What a shell offers at the end of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    ask = ASK[shell].format(words=quoted, last=len(words) - 1, count=len(words), line=f"'{line}'")
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    answer = subprocess.run(
        [shell, *options, "-c", f"{SCRIPTS[shell]()}\n{ask}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert not answer.stderr
    found = {each.partition("\t")[0] for each in answer.stdout.splitlines()}
    return {each for each in found if each.startswith(words[-1])} - {""}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_every_command_is_completed(shell: str) -> None:
    script = SCRIPTS[shell]()

    assert all(name in script for name in COMMANDS)
    assert "status-selector" in script


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gitopsd rec", {"reconcile"}),
        ("gitopsd res", {"resume"}),
        ("gitopsd get kustomiz", {"kustomization", "kustomizations"}),
        ("gitopsd get ks apps --status", {"--status-selector"}),
        ("gitopsd create so", {"source"}),
        ("gitopsd create source b", {"bucket"}),
        ("gitopsd create secret git", {"git", "github-app"}),
        ("gitopsd create source git fleet --bra", {"--branch"}),
        ("gitopsd get ks -o ya", {"yaml"}),
        ("gitopsd get --output wi", {"wide"}),
        ("gitopsd logs --level err", {"error"}),
        ("gitopsd completion zs", {"zsh"}),
    ],
)
def test_shell_offers_what_may_follow(shell: str, line: str, offered: set[str]) -> None:
    assert completed(shell, line) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_all_commands_are_offered_at_first(shell: str) -> None:
    assert completed(shell, "gitopsd ") >= set(COMMANDS)


@pytest.mark.parametrize("shell", SHELLS)
def test_options_of_another_command_are_not_offered(shell: str) -> None:
    assert "--with-source" in completed(shell, "gitopsd reconcile ks apps --")
    assert "--with-source" not in completed(shell, "gitopsd get ks --")
