"""`opsloop schema`: the catalog's JSON Schema, for editors."""

from __future__ import annotations

import click

from opsloop.cli import output


@click.command(short_help="Print the catalog's JSON Schema, for editors.")
def command() -> None:
    """Print the JSON Schema of a catalog file: each field with its meaning and an example.

    \b
    opsloop schema > opsloop.schema.json
    and as the first line of the catalog, for editors with yaml-language-server:
    # yaml-language-server: $schema=opsloop.schema.json

    What it refuses, opsloop check refuses; check sees more.
    """
    from opsloop.catalog.schema import schema

    output.print_json(schema())
