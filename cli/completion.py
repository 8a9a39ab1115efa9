"""``gitopsd completion``: what makes a shell complete commands, options, their values and kinds.

The three scripts hold the same table: for each command, or part of one such as ``create source``,
the words that may follow; and for each option with a fixed set of values, those.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from inspection import kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BASH: Final = """\
# gitopsd completion for bash: source <(gitopsd completion bash)
_gitopsd() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} at= word words
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$at $word" in
      {places}) at="$at $word" ;;
    esac
  done
  case "$at:$previous" in
{values}
    *)
      case "$at" in
        "") words="{commands}" ;;
{words}
      esac
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _gitopsd gitopsd
"""
_ZSH: Final = """\
#compdef gitopsd
# gitopsd completion for zsh: gitopsd completion zsh > "${{fpath[1]}}/_gitopsd"
_gitopsd() {{
  local at= word previous=$words[CURRENT-1]
  local -a candidates
  for word in ${{words[2,CURRENT-1]}}; do
    case "$at $word" in
      {places}) at="$at $word" ;;
    esac
  done
  case "$at:$previous" in
{values}
    *)
      case "$at" in
        "") candidates=({commands}) ;;
{words}
      esac
  esac
  compadd -- $candidates
}}
if (( $+functions[compdef] )); then compdef _gitopsd gitopsd; fi
if [ "$funcstack[1]" = _gitopsd ]; then _gitopsd "$@"; fi
"""
_FISH: Final = """\
# gitopsd completion for fish: gitopsd completion fish | source
function __gitopsd_at
    set -l at ''
    for word in (commandline -opc)[2..-1]
        switch "$at $word"
            case {places}
                set at "$at $word"
        end
    end
    test "$at" = "$argv[1]"
end
complete -c gitopsd -f
"""


@dataclass(slots=True)
class _Place:
    """Somewhere in a command line: after a command, or after a part of one."""

    path: str
    """The words that lead there, each with a blank before it."""
    words: list[str] = field(default_factory=list)
    """What may follow that is no option."""
    options: list[_Option] = field(default_factory=list)

    @property
    def everything(self) -> str:
        """All that may follow."""
        names = [name for each in self.options for name in each.names if name.startswith("--")]
        return " ".join(dict.fromkeys([*self.words, *names]))


@dataclass(frozen=True, slots=True)
class _Option:
    """An option of a command."""

    names: tuple[str, ...]
    values: tuple[str, ...]
    """What it may be set to, where that is a fixed set."""
    takes_value: bool


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def execute(args: argparse.Namespace) -> int:
    """Print the script."""
    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](), end="")
    return 0


def bash() -> str:
    """Return the script for bash."""
    return _script(_BASH, lambda words: f'words="{words}"')


def zsh() -> str:
    """Return the script for zsh."""
    return _script(_ZSH, lambda words: f"candidates=({words})")


def fish() -> str:
    """Return the script for fish."""
    from cli.main import COMMANDS

    places = _places()
    lines = [_FISH.format(places=" ".join(f"'{each.path}'" for each in places))]
    for name, explained in COMMANDS.items():
        lines.append(
            f"complete -c gitopsd -n '__gitopsd_at \"\"' -a {name} -d '{_quoted(explained)}'"
        )
    for each in places:
        here = f"complete -c gitopsd -n '__gitopsd_at \"{each.path}\"'"
        if each.words:
            lines.append(f"{here} -a '{' '.join(each.words)}'")
        lines += [f"{here} {_in_fish(option)}" for option in each.options]
    return "\n".join(lines) + "\n"


def _in_fish(option: _Option) -> str:
    parts = [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    ]
    if option.values:
        parts.append(f"-x -a '{' '.join(option.values)}'")
    elif option.takes_value:
        parts.append("-r -F")
    return " ".join(parts)


def _script(template: str, assign: Callable[[str], str]) -> str:
    """Fill in the script of a shell whose ``case`` is that of Bourne's."""
    from cli.main import COMMANDS

    places = _places()
    words = [f'        "{each.path}") {assign(each.everything)} ;;' for each in places]
    values = [
        f"    {_patterns(each.path, option)}) {assign(' '.join(option.values))} ;;"
        for each in places
        for option in each.options
        if option.values
    ]
    return template.format(
        commands=" ".join(COMMANDS),
        places="|".join(f'"{each.path}"' for each in places),
        words="\n".join(words),
        values="\n".join(values),
    )


def _patterns(path: str, option: _Option) -> str:
    return "|".join(f'"{path}:{name}"' for name in option.names)


def _places() -> list[_Place]:
    """Return every place of a command line, by asking each command for its options."""
    from cli.main import COMMANDS

    found: list[_Place] = []
    for name in COMMANDS:
        parser = argparse.ArgumentParser(prog=f"gitopsd {name}")
        importlib.import_module(f"cli.{name}").configure(parser)
        found += _below(f" {name}", parser)
    return found


def _below(path: str, parser: argparse.ArgumentParser) -> Iterator[_Place]:
    """Yield the place after some words, and those behind its subcommands."""
    place = _Place(path)
    inner: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            inner = dict(action.choices)
            place.words += inner
        elif action.option_strings:
            place.options.append(_option(action))
        else:
            place.words += _positional(action)
    yield place
    for word, each in inner.items():
        yield from _below(f"{path} {word}", each)


def _option(action: argparse.Action) -> _Option:
    values = tuple(str(each) for each in action.choices or ())
    return _Option(tuple(action.option_strings), values, action.nargs != 0)


def _positional(action: argparse.Action) -> Sequence[str]:
    if action.choices:
        return [str(each) for each in action.choices]
    return ["all", *sorted(kinds.words())] if action.dest == "what" else []


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")
