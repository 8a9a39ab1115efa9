"""``gitopsd completion``: what makes a shell complete commands, options and kinds."""

from __future__ import annotations

import argparse
import importlib
from typing import Final

from inspection import kinds

_BASH: Final = """\
# gitopsd completion for bash: source <(gitopsd completion bash)
_gitopsd() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}} words
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{commands}"
  else
    case "$command" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _gitopsd gitopsd
"""
_ZSH: Final = """\
#compdef gitopsd
# gitopsd completion for zsh: gitopsd completion zsh > "${{fpath[1]}}/_gitopsd"
_gitopsd() {{
  local -a candidates
  if (( CURRENT == 2 )); then
    candidates=({commands})
  else
    case "$words[2]" in
{cases}
    esac
  fi
  compadd -- $candidates
}}
compdef _gitopsd gitopsd
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def execute(args: argparse.Namespace) -> int:
    """Print the script."""
    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](), end="")
    return 0


def bash() -> str:
    """Return the script for bash."""
    cases = "\n".join(
        f'      {name}) words="{" ".join(words)}" ;;' for name, words in _words().items()
    )
    return _BASH.format(commands=" ".join(_words()), cases=cases)


def zsh() -> str:
    """Return the script for zsh."""
    cases = "\n".join(
        f"      {name}) candidates=({' '.join(words)}) ;;" for name, words in _words().items()
    )
    return _ZSH.format(commands=" ".join(_words()), cases=cases)


def fish() -> str:
    """Return the script for fish."""
    from cli.main import COMMANDS

    lines = ["# gitopsd completion for fish: gitopsd completion fish | source"]
    names = " ".join(COMMANDS)
    for name, explained in COMMANDS.items():
        lines.append(
            f"complete -c gitopsd -n 'not __fish_seen_subcommand_from {names}' -f "
            f"-a {name} -d '{_quoted(explained)}'"
        )
    for name, words in _words().items():
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        long = [word[2:] for word in words if word.startswith("--")]
        lines += [f"complete -c gitopsd {seen} -l {option}" for option in long]
        plain = " ".join(word for word in words if not word.startswith("-"))
        if plain:
            lines.append(f"complete -c gitopsd {seen} -f -a '{plain}'")
    return "\n".join(lines) + "\n"


def _words() -> dict[str, list[str]]:
    """Return the words that may follow each command: its options, choices and kinds."""
    from cli.main import COMMANDS

    found = {}
    for name in COMMANDS:
        parser = argparse.ArgumentParser(prog=f"gitopsd {name}")
        importlib.import_module(f"cli.{name}").configure(parser)
        found[name] = list(dict.fromkeys(_words_of(parser)))
    return found


def _words_of(parser: argparse.ArgumentParser) -> list[str]:
    words: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        words += [each for each in action.option_strings if each.startswith("--")]
        if action.dest == "what" and not action.choices:
            words += ["all", *sorted(kinds.words())]
        elif action.choices and not action.option_strings:
            words += [str(each) for each in action.choices]
    return words


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")
