"""docs/reference/settings.md: the environment variables that opsloop reads, and those that it sets."""

from __future__ import annotations

from collections.abc import Iterable

from opsloop.settings import GIVEN, VARIABLES, Ports, Variable

HEAD = """\
# Settings

What differs from machine to machine is in the environment; what is monitored is in the [catalog](catalog.md). An option on
the command line wins over its variable. Secrets are taken from the environment by `opsloop up` and kept as files of mode
0600 in the state folder, so they need not be set for any other command, nor at the next `up`.

## Read by opsloop

"""
GIVEN_HEAD = """
## Set by opsloop

For the processes of the catalog, beside their own `environment`:

"""
PORTS_HEAD = """
## Ports

`--port-base N` moves all of them by one offset, so that two stacks run side by side:

| part | port |
|---|---|
"""


def page() -> str:
    """The page, in Markdown."""
    ports = Ports()
    parts = [name for name, value in vars(Ports).items() if isinstance(value, property)]
    rows = [f"| {name.replace('_', '-')} | {getattr(ports, name)} |" for name in parts]
    return (
        HEAD + _table(VARIABLES) + GIVEN_HEAD + _table(GIVEN) + PORTS_HEAD + "\n".join(rows) + "\n"
    )


def _table(variables: Iterable[Variable]) -> str:
    lines = ["| variable | meaning | unset |", "|---|---|---|"]
    lines += [f"| `{v.name}` | {v.means} | {v.unset or '-'} |" for v in variables]
    return "\n".join(lines) + "\n"
