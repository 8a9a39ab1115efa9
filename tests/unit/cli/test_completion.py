from __future__ import annotations

import shutil
import subprocess

import pytest

from cli import completion
from cli.main import COMMANDS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_completed(shell: str) -> None:
    script = {"bash": completion.bash, "zsh": completion.zsh, "fish": completion.fish}[shell]()

    assert all(name in script for name in COMMANDS)
    assert "status-selector" in script


def test_bash_accepts_the_script_and_completes_a_kind() -> None:
    bash = shutil.which("bash")
    assert bash
    asked = (
        "COMP_WORDS=(gitopsd get kustomiz); COMP_CWORD=2; _gitopsd; echo ${COMPREPLY[@]}; "
        "COMP_WORDS=(gitopsd rec); COMP_CWORD=1; _gitopsd; echo ${COMPREPLY[@]}"
    )
    answer = subprocess.run(
        [bash, "-c", f"{completion.bash()}\n{asked}"], check=True, capture_output=True, text=True
    )

    kinds, commands = answer.stdout.splitlines()
    assert "kustomizations" in kinds.split()
    assert commands == "reconcile"
