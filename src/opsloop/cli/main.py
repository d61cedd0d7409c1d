"""The command `opsloop`: the table of its commands, and what their failures become.

A command module is imported only when its command is called, so `--help` stays quick.
Exit codes: what the command returns (None is 0), `exit_code` of an OpsloopError, 2 for wrong
usage, 130 for Ctrl-C, 141 when the reader of stdout has gone.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from opsloop import __version__
from opsloop.cli import output
from opsloop.errors import OpsloopError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name -> (module:attribute, short help), in the order that --help shows.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("opsloop.cli.init:command", "Write a first catalog by looking at what runs here."),
    "import": (
        "opsloop.cli.import_:command",
        "Make a catalog of SLO files of Sloth, Pyrra or OpenSLO.",
    ),
    "check": ("opsloop.cli.check:command", "Check the catalog; name every problem at once."),
    "build": ("opsloop.cli.build:command", "Compile the catalog into a folder of configuration."),
    "diff": ("opsloop.cli.diff:command", "Show what a build would change."),
    "up": ("opsloop.cli.up:command", "Start the stack, or apply a changed catalog to it."),
    "down": ("opsloop.cli.down:command", "Stop the stack."),
    "status": ("opsloop.cli.status:command", "Show each part of the stack and its health."),
    "logs": ("opsloop.cli.logs:command", "Show the log of a part."),
    "reload": ("opsloop.cli.reload:command", "Apply a changed catalog to the running stack."),
    "doctor": ("opsloop.cli.doctor:command", "Say what this machine lacks, and what mends it."),
    "slo": ("opsloop.cli.slo:command", "Show error budgets, and what spent them."),
    "episodes": ("opsloop.cli.episodes:command", "List what broke and how it ended."),
    "runs": ("opsloop.cli.runs:command", "List what the loop did, or show one run."),
    "approvals": ("opsloop.cli.approvals:command", "List the plans that wait for a person."),
    "approve": ("opsloop.cli.approvals:approve", "Let the loop do a plan that waits, once."),
    "reject": ("opsloop.cli.approvals:reject", "Forbid a plan that waits."),
    "replay": ("opsloop.cli.replay:command", "Decide again what was decided, as of today."),
    "policy": ("opsloop.cli.policy:command", "Test policies; list what they would clean."),
    "store": ("opsloop.cli.store:command", "Back up the engine's state, or forget old parts."),
    "alerts": ("opsloop.cli.alerts:command", "Show what fires, who was told, what the loop does."),
    "silence": ("opsloop.cli.silence:command", "Mute alerts for a while; list or end silences."),
    "pause": ("opsloop.cli.pause:command", "Stop the loop from acting: the kill switch."),
    "resume": ("opsloop.cli.resume:command", "Let the loop act again."),
    "annotate": ("opsloop.cli.annotate:command", "Mark a deploy or the like on the charts."),
    "inbox": ("opsloop.cli.inbox:command", "Show what people would have been sent."),
    "drill": (
        "opsloop.cli.drill:command",
        "Break something on purpose and watch the loop heal it.",
    ),
    "backup-run": (
        "opsloop.cli.backup_run:command",
        "Run a backup command; leave its result as metrics.",
    ),
    "schema": ("opsloop.cli.schema:command", "Print the catalog's JSON Schema, for editors."),
    "completion": ("opsloop.cli.completion:command", "Print the completion script of a shell."),
}
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class LazyGroup(click.Group):
    """A group whose commands stand in COMMANDS and are imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module_name, attribute = COMMANDS[cmd_name][0].split(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
            raise OpsloopError(
                f"opsloop {cmd_name}", "is not in this installation", "see opsloop --help"
            ) from None
        command: click.Command = getattr(module, attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see opsloop --help"
            raise click.UsageError(f"no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        # Options of the group itself; past Group, which would import every command.
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _quiet_broken_pipe():  # --help and --version are printed here
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _quiet_broken_pipe():
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        try:
            result = super().main(
                args,
                prog_name or "opsloop",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
            code = result if type(result) is int else 0
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            code = EXIT_INTERRUPTED
        except OpsloopError as error:
            output.fail(error)
            code = error.exit_code
        except OSError as error:
            # A file or an address that the system refuses is no bug: one sentence, no traceback.
            if error.filename is None:
                raise
            output.complain(f"{os.fsdecode(error.filename)}: {error.strerror}")
            code = 1
        if standalone_mode:
            sys.exit(code)
        return code


@contextmanager
def _quiet_broken_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        output.silence_stdout()
        raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None


@click.group(
    name="opsloop", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="opsloop")
def cli() -> None:
    """Monitoring compiled from one catalog, and a loop that heals what breaks.

    Start with: opsloop init, opsloop check, opsloop up.
    """


def main() -> None:
    """The console script."""
    output.prepare_streams()
    cli()


if __name__ == "__main__":
    main()
