"""docs/reference/commands.md: every command with its help, as the command line itself says it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from opsloop.cli.main import cli

WIDTH = 100
HEAD = """\
# The commands

Every listing takes `--json`. Results go to stdout, everything about the work itself to stderr. Colours obey `NO_COLOR`.
`opsloop completion bash` (or zsh, fish) prints what teaches your shell the commands, options and choices.

| exit code | means |
|---|---|
| 0 | done; what was asked about is well |
| 1 | not done, or not well: a part of the stack, the store or a server refused; for `check`-like commands: it differs |
| 2 | what was given is wrong: an argument, the catalog, what was compiled |
| 3 | this machine lacks something: a program, a free port, a usable folder |
| 130 | ended by Ctrl-C |
| 141 | the reader of its output has gone |

Each [error](errors.md) is one sentence: the thing, the reason, the next step.

"""
_EXIT = re.compile(r"(?:Exit code|It exits)[^.]*(?:\.(?=\S)[^.]*)*\.")


def page() -> str:
    """The page, in Markdown."""
    return HEAD + "\n".join(_section(path, command) for path, command in every(cli, "opsloop"))


def every(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """(words, command) of all commands and their subcommands, in the order of --help."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from every(command, f"{path} {name}")


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path, terminal_width=WIDTH, max_content_width=WIDTH)
    level = "##" if path.count(" ") == 1 else "###"
    return "\n".join(
        [
            f"{level} {path}",
            "",
            "```text",
            command.get_help(context).rstrip(),
            "```",
            "",
            f"Exit codes: {exits(command)}",
            "",
        ]
    )


def exits(command: click.Command) -> str:
    """What its own help says of its exit code, else that it has those of every command."""
    text = " ".join(f"{command.help or ''} {command.epilog or ''}".split())
    found = _EXIT.findall(text)
    if not found:
        return "those of every command."
    own = " ".join(sentence.removeprefix("Exit code ") for sentence in found)
    return f"{own} Otherwise those of every command."
