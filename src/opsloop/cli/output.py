"""What commands print: JSON and tables on stdout, sentences about failures on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from opsloop.errors import OpsloopError

if TYPE_CHECKING:
    from rich.console import Console


def prepare_streams() -> None:
    """Never fail on a character that the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def silence_stdout() -> None:
    """After the reader has gone: what is still buffered goes nowhere, without a complaint."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def is_terminal(stream: IO[str] | None = None) -> bool:
    """Whether a person looks at `stream` (default stdout)."""
    stream = stream or sys.stdout
    return stream.isatty()


def is_coloured(stream: IO[str] | None = None) -> bool:
    """Whether `stream` (default stdout) takes colours; NO_COLOR and TERM=dumb say no."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


def say(text: str = "") -> None:
    """One result line on stdout."""
    click.echo(text, color=is_coloured())


def note(text: str) -> None:
    """One line about the work itself, on stderr."""
    click.echo(text, err=True, color=is_coloured(sys.stderr))


def complain(text: str) -> None:
    """One sentence about a failure, on stderr."""
    prefix = click.style("error:", fg="red", bold=True)
    click.echo(f"{prefix} {text}", err=True, color=is_coloured(sys.stderr))


def warn(text: str) -> None:
    """One sentence about something that works but should not stay so, on stderr."""
    prefix = click.style("warning:", fg="yellow", bold=True)
    click.echo(f"{prefix} {text}", err=True, color=is_coloured(sys.stderr))


def fail(error: OpsloopError) -> None:
    """The sentence of `error` on stderr; a CatalogError has one line for each problem."""
    from opsloop.errors import CatalogError

    if isinstance(error, CatalogError):
        for problem in error.problems:
            click.echo(str(problem), err=True)
        complain(f"{error.thing}: {error.reason}")
    else:
        complain(str(error))


def print_json(value: Any, *, one_line: bool = False) -> None:
    """`value` as JSON on stdout, keys in the order given; `one_line` for streams of objects."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    text = json.dumps(
        value,
        ensure_ascii=encoding != "utf8",
        indent=None if one_line else 2,
        allow_nan=False,
        default=str,
    )
    click.echo(text)


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], styles: Sequence[str] = ()
) -> None:
    """A table on stdout: rich on a terminal, aligned plain columns elsewhere.

    styles: a colour for each row, or none at all.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if is_terminal():
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for header in headers:
            table.add_column(escape(header), overflow="fold")
        for at, row in enumerate(cells):
            table.add_row(*(escape(cell) for cell in row), style=styles[at] if styles else None)
        console().print(table)
        return
    lines = [list(headers), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    for line in lines:
        click.echo("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def console(*, stderr: bool = False) -> Console:
    """A rich console that obeys NO_COLOR; import cost about 60 ms, so only where needed."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, no_color=not is_coloured(stream), highlight=False)
