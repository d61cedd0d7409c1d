"""`opsloop completion`: the script that teaches a shell our commands and options."""

from __future__ import annotations

import click

from opsloop.cli import output


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: eval "$(opsloop completion bash)"
    zsh:  eval "$(opsloop completion zsh)"
    fish: opsloop completion fish | source
    """
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(shell) or ShellComplete
    script = kind(ctx.find_root().command, {}, "opsloop", "_OPSLOOP_COMPLETE")
    # The base class's source: bash's own would run bash to ask for its version.
    output.say(ShellComplete.source(script))
